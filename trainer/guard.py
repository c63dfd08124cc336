"""Gradient clipping, and the watch for values that are no longer finite."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.errors import UserError
from trainer.interfaces import Policy


class TrainingDivergedError(UserError):
    """The loss or a gradient became NaN or infinite."""


class GradientGuard:
    """Clips by the global norm and remembers, on the device, the first bad step.

    ``check`` moves one small tensor to the host. The loop calls it after every step on the CPU,
    where that costs nothing, and only when logging or saving on a GPU.
    """

    def __init__(self, policy: Policy, max_norm: float | None, device: torch.device) -> None:
        self.max_norm = max_norm
        self._parameters = {
            name: trainable
            for name, component in policy.components.items()
            if (trainable := [p for p in component.parameters() if p.requires_grad])
        }
        # The component norms and loss of the last step, frozen at the first one that went bad.
        self._record = torch.zeros(len(self._parameters) + 2, device=device)
        self.norm = torch.zeros((), device=device)

    @torch.no_grad()
    def clip(self, step: int, loss: Tensor, scale: Tensor | None) -> None:
        """Multiply the gradients by ``scale`` (if any), then clip them to ``max_norm``."""
        grads = [
            [p.grad for p in parameters if p.grad is not None]
            for parameters in self._parameters.values()
        ]
        every_grad = [g for component in grads for g in component]
        if scale is not None:
            torch._foreach_mul_(every_grad, scale)
        norms = torch.stack([torch.nn.utils.get_total_norm(g) for g in grads])
        self.norm = torch.linalg.vector_norm(norms)
        if self.max_norm is not None:
            coefficient = (self.max_norm / (self.norm + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(every_grad, coefficient)
        tail = torch.stack([loss.detach().to(norms), norms.new_full((), step)])
        healthy = torch.isfinite(self._record).all()
        self._record = torch.where(healthy, torch.cat([norms, tail]), self._record)

    def check(self, last_good: str) -> None:
        """Raise when a step was not finite.

        Raises:
            TrainingDivergedError: names the step and the components whose gradient went bad first.
        """
        values = self._record.tolist()
        bad = ~torch.isfinite(torch.tensor(values))
        if not bad.any():
            return
        names = [*self._parameters, "the loss itself"]
        first = [name for name, is_bad in zip(names, bad[:-1].tolist(), strict=True) if is_bad]
        raise TrainingDivergedError(
            f"training diverged at step {int(values[-1])}: not finite are {', '.join(first)} "
            f"(gradient norm by component). Nothing was overwritten; {last_good}. Try a smaller "
            "learning rate, a smaller train.clip_grad_norm, or precision: fp32, and look for "
            "extreme values with python -m data_collection.show ROUND"
        )
