"""AdamW with the one-cycle schedule."""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat

from components.optimizers.parameter_groups import with_weight_decay
from trainer.interfaces import OptimizerPlugin
from trainer.registry import optimizers

Fraction = Annotated[float, Field(ge=0, lt=1)]


@optimizers.register("adamw_onecycle")
class AdamWOneCycle(OptimizerPlugin):
    """AdamW; one rise from ``lr / div_factor`` to ``lr``, one fall to a rate near zero.

    Source: Smith and Topin, Super-Convergence, 2018, in two phases as ``OneCycleLR`` of torch has
    it. The betas stay constant.

    Args:
        lr: Peak learning rate.
        pct_start: Fraction of the run that the rise takes.
        div_factor: ``lr`` divided by the first rate.
        final_div_factor: The first rate divided by the last.
        anneal: Shape of the rise and of the fall.
        weight_decay: Decoupled decay, where a group does not set its own.
        betas: Decay of the first and second moment.
        eps: Added to the denominator.
    """

    def __init__(
        self,
        *,
        lr: PositiveFloat,
        pct_start: Annotated[float, Field(gt=0, lt=1)] = 0.3,
        div_factor: Annotated[float, Field(ge=1)] = 25.0,
        final_div_factor: Annotated[float, Field(ge=1)] = 1e4,
        anneal: Literal["cos", "linear"] = "cos",
        weight_decay: NonNegativeFloat = 1e-4,
        betas: tuple[Fraction, Fraction] = (0.9, 0.999),
        eps: PositiveFloat = 1e-8,
    ) -> None:
        self.lr = lr
        self.pct_start = pct_start
        self.first_lr = lr / div_factor
        self.last_lr = self.first_lr / final_div_factor
        self.anneal = anneal
        self.weight_decay = weight_decay
        self.betas = betas
        self.eps = eps

    def build(self, parameter_groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        """Return AdamW over the groups, fused into one kernel (on the CPU as well)."""
        groups = with_weight_decay(parameter_groups, self.weight_decay)
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)

    def learning_rate(self, step: int, total_steps: int) -> float:
        """Return the rate of this zero-based step."""
        last = total_steps - 1
        peak = self.pct_start * total_steps - 1
        if step < peak:
            return self._between(self.first_lr, self.lr, step / peak)
        return self._between(self.lr, self.last_lr, min(1.0, (step - peak) / (last - peak)))

    def _between(self, start: float, end: float, progress: float) -> float:
        """Return the rate on the way from ``start`` (progress 0) to ``end`` (progress 1)."""
        if self.anneal == "cos":
            progress = 0.5 * (1 - math.cos(math.pi * progress))
        return start + (end - start) * progress
