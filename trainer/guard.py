"""Gradient clipping, and the watch for values that are no longer finite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from trainer.errors import UserError
from trainer.files import write_text_atomically
from trainer.interfaces import Policy


class TrainingDivergedError(UserError):
    """The loss or a gradient became NaN or infinite."""


DIVERGED = "diverged.txt"
"""In the folder of a run whose newest training diverged: what was said then."""


class GradientGuard:
    """Clips by the global norm and remembers, on the device, the first bad step.

    ``check`` moves one small tensor to the host. The loop calls it after every step on the CPU,
    where that costs nothing, and only when logging or saving on a GPU.

    Args:
        policy: Whose gradients are clipped.
        max_norm: Of all gradients together; None does not clip.
        device: Where they are.
        may_overflow: Gradients may be infinite now and then (a scaler skips such steps); only the
            loss may not.
    """

    def __init__(
        self,
        policy: Policy,
        max_norm: float | None,
        device: torch.device,
        *,
        may_overflow: bool = False,
    ) -> None:
        self.max_norm = max_norm
        self.may_overflow = may_overflow
        named = policy.components.named_parameters()
        self._parameters = {name: p for name, p in named if p.requires_grad}
        # The norms, loss and number of the last step, frozen at the first one that went bad.
        self._record = torch.zeros(len(self._parameters) + 2, device=device)
        self._no_gradient = torch.zeros((), device=device)
        self.norm = torch.zeros((), device=device)

    @torch.no_grad()
    def clip(self, step: int, loss: Tensor, scale: Tensor | None) -> None:
        """Multiply the gradients by ``scale`` (if any), then clip them to ``max_norm``."""
        grads = [p.grad for p in self._parameters.values()]
        present = [g for g in grads if g is not None]
        if scale is not None:
            torch._foreach_mul_(present, scale)
        norms = iter(torch._foreach_norm(present))
        record = torch.stack(
            [self._no_gradient if g is None else next(norms) for g in grads]
            + [loss.float(), self._no_gradient.new_full((), step)]
        )
        self.norm = torch.linalg.vector_norm(record[:-2])
        if self.may_overflow:
            record[:-2] = 0
        if self.max_norm is not None:
            coefficient = (self.max_norm / (self.norm + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(present, coefficient)
        if self._record.device.type == "cpu":
            self._record = record  # checked after every step: there is nothing to remember
        else:
            self._record = torch.where(self._record.isfinite().all(), record, self._record)

    def check(self, save_dir: Path, loss_scale: float = 1.0) -> None:
        """Raise when a step was not finite; the message points to the checkpoints in ``save_dir``.

        Args:
            save_dir: The run's folder.
            loss_scale: What a scaler multiplies the loss by. It halves it with each step that
                overflows, and begins far above 1: below, nothing finite is left to be found.

        Raises:
            TrainingDivergedError: names the step and the components whose gradient went bad first.
        """
        values = self._record.tolist()
        if loss_scale < 1:
            raise TrainingDivergedError(
                f"training diverged by step {int(values[-1])}: its gradients are not finite in "
                f"fp16 however small the loss is scaled (by {loss_scale:g} now), so no step is "
                f"taken any more; the newest checkpoint lies in {save_dir}. Train with precision: "
                "bf16 or fp32, which says where it begins"
            )
        if all(map(math.isfinite, values)):
            return
        names = [*(name.partition(".")[0] for name in self._parameters), "the loss itself"]
        bad = [n for n, value in zip(names, values[:-1], strict=True) if not math.isfinite(value)]
        raise TrainingDivergedError(
            f"training diverged at step {int(values[-1])}: not finite are "
            f"{', '.join(dict.fromkeys(bad))} (gradient norm by component). Nothing was "
            f"overwritten; the newest checkpoint lies in {save_dir}. Try a smaller learning rate, "
            "a smaller train.clip_grad_norm, or precision: fp32, and look for extreme values with "
            "python -m data_collection.show ROUND"
        )


@contextmanager
def diverging_is_noted(save_dir: Path, *, is_main: bool) -> Iterator[None]:
    """Leave a note in the run's folder when training diverges: exit codes get lost on the way."""
    note = save_dir / DIVERGED
    if is_main:
        note.unlink(missing_ok=True)
    try:
        yield
    except TrainingDivergedError as error:
        if is_main:
            write_text_atomically(note, f"{error}\n")
        raise
