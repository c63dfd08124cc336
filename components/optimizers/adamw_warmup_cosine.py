"""AdamW with a linear warm-up and a cosine decay."""

import math
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from components.optimizers.parameter_groups import with_weight_decay
from trainer.interfaces import OptimizerPlugin
from trainer.registry import optimizers

Fraction = Annotated[float, Field(ge=0, lt=1)]


@optimizers.register("adamw_warmup_cosine")
class AdamWWarmupCosine(OptimizerPlugin):
    """AdamW; the rate climbs linearly to ``lr``, then falls along half a cosine.

    Sources: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019; SGDR, 2017, eq. 5.

    Args:
        lr: Peak learning rate.
        warmup_steps: Steps of the warm-up; a number below 1 is a fraction of the whole run.
        weight_decay: Decoupled decay, where a group does not set its own.
        betas: Decay of the first and second moment.
        eps: Added to the denominator.
        final_lr_fraction: Learning rate of the last step as a fraction of ``lr``.
    """

    def __init__(
        self,
        *,
        lr: PositiveFloat,
        warmup_steps: NonNegativeInt | Fraction = 0.05,
        weight_decay: NonNegativeFloat = 1e-4,
        betas: tuple[Fraction, Fraction] = (0.9, 0.999),
        eps: PositiveFloat = 1e-8,
        final_lr_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0,
    ) -> None:
        self.lr = lr
        self.warmup_steps = warmup_steps
        self.weight_decay = weight_decay
        self.betas = betas
        self.eps = eps
        self.final_lr_fraction = final_lr_fraction

    def build(self, parameter_groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        """Return AdamW over the groups, fused into one kernel (on the CPU as well)."""
        groups = with_weight_decay(parameter_groups, self.weight_decay)
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)

    def learning_rate(self, step: int, total_steps: int) -> float:
        """Return the rate of this zero-based step; the last one gets ``final_lr_fraction · lr``."""
        warmup = self.warmup_steps
        if isinstance(warmup, float):
            warmup = round(warmup * total_steps)
        if step < warmup:
            return self.lr * (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, total_steps - 1 - warmup))
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return self.lr * (self.final_lr_fraction + (1 - self.final_lr_fraction) * cosine)
