"""Figures of a training run, kept on the device until it is time to log."""

from __future__ import annotations

import time
from collections import defaultdict

import torch
from torch import Tensor

from trainer.distributed import Ranks
from trainer.interfaces import LossOutput


class Meter:
    """Keeps losses and metrics on the device; only ``read`` moves their means to the host."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.reset()

    def reset(self) -> None:
        """Forget what was counted and start the clock anew."""
        self._losses: list[Tensor] = []
        self._weights: list[Tensor] = []
        self._metrics: defaultdict[str, list[Tensor]] = defaultdict(list)
        self.samples = 0
        self.wait_s = 0.0
        self._since = time.perf_counter()

    def add(self, output: LossOutput, samples: int) -> None:
        """Count one micro-batch."""
        self._losses.append(output.loss.detach())
        self._weights.append(output.weight.detach())
        for name, value in output.metrics.items():
            self._metrics[name].append(value.detach())
        self.samples += samples

    def read(self) -> dict[str, float]:
        """Return the means over all ranks since the last call, and start anew.

        The loss is the mean over valid elements; metrics are means over micro-batches.
        """
        names = sorted(self._metrics)
        weights = torch.stack(self._weights)
        packed = torch.stack(
            [
                (torch.stack(self._losses) * weights).sum(),
                weights.sum(),
                weights.new_full((), len(weights)),
                *(torch.stack(self._metrics[name]).to(weights).sum() for name in names),
            ]
        )
        weighted_loss, weight, outputs, *sums = self.ranks.all_reduce_sum(packed).tolist()
        elapsed = time.perf_counter() - self._since
        values = {"train/loss": weighted_loss / max(weight, 1)}
        values |= {f"train/{n}": s / outputs for n, s in zip(names, sums, strict=True)}
        values["perf/samples_per_s"] = self.samples * self.ranks.world_size / elapsed
        values["perf/data_wait"] = self.wait_s / elapsed
        self.reset()
        return values
