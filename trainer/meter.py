"""Figures of a training run, kept on the device until it is time to log."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from trainer.distributed import Ranks
from trainer.interfaces import LossOutput


class Meter:
    """Sums losses and metrics on the device; only ``read`` moves them to the host."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self._sums: dict[str, Tensor] = {}
        self._weighted_loss = torch.zeros((), device=ranks.device)
        self._weight = torch.zeros((), device=ranks.device)
        self._outputs = 0
        self.samples = 0
        self.wait_s = 0.0
        self._since = time.perf_counter()

    def add(self, output: LossOutput, samples: int) -> None:
        """Count one micro-batch."""
        weight = output.weight.detach()
        self._weighted_loss = self._weighted_loss + output.loss.detach() * weight
        self._weight = self._weight + weight
        for name, value in output.metrics.items():
            self._sums[name] = (
                self._sums[name] + value.detach() if name in self._sums else (value.detach())
            )
        self._outputs += 1
        self.samples += samples

    def read(self) -> dict[str, float]:
        """Return the means over all ranks since the last call, and start anew.

        The loss is the mean over valid elements; metrics are means over micro-batches.
        """
        names = sorted(self._sums)
        outputs = self._weight.new_full((), self._outputs)
        packed = torch.stack(
            [self._weighted_loss, self._weight, outputs]
            + [self._sums[name].to(self._weight) for name in names]
        )
        weighted_loss, weight, outputs, *sums = self.ranks.all_reduce_sum(packed).tolist()
        elapsed = time.perf_counter() - self._since
        values = {"train/loss": weighted_loss / max(weight, 1)}
        values |= {f"train/{n}": s / outputs for n, s in zip(names, sums, strict=True)}
        values["perf/samples_per_s"] = self.samples * self.ranks.world_size / elapsed
        values["perf/data_wait"] = self.wait_s / elapsed
        self.__init__(self.ranks)
        return values
