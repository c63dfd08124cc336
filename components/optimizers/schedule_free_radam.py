"""RAdam without a schedule: the optimizer averages the weights itself."""

from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from schedulefree import RAdamScheduleFree
from torch import Tensor, nn

from components.optimizers.parameter_groups import with_weight_decay
from trainer.interfaces import OptimizerPlugin
from trainer.registry import optimizers


@optimizers.register("schedule_free_radam")
class ScheduleFreeRAdam(OptimizerPlugin):
    """Schedule-free RAdam at a constant learning rate, warmed up by RAdam's rectification.

    Sources: Defazio et al., The Road Less Scheduled, 2024, eqs. 3-5 (gradients are taken at y, z
    takes the steps, x is the average to act with); Liu et al., RAdam, 2020.

    Args:
        lr: Learning rate.
        weight_decay: Decay calculated at y, where a group does not set its own.
        betas: Interpolation between z and x, and decay of the second moment.
        eps: Added to the denominator.
        r: Power of the step in the weights of the average.
        weight_lr_power: Power of the learning rate in the weights of the average.
    """

    averages_weights = True

    def __init__(
        self,
        *,
        lr: PositiveFloat = 2.5e-3,
        weight_decay: NonNegativeFloat = 0.0,
        betas: tuple[Annotated[float, Field(gt=0, lt=1)], Annotated[float, Field(gt=0, lt=1)]] = (
            0.9,
            0.999,
        ),
        eps: PositiveFloat = 1e-8,
        r: NonNegativeFloat = 0.0,
        weight_lr_power: NonNegativeFloat = 2.0,
    ) -> None:
        self.lr = lr
        self.weight_decay = weight_decay
        self.betas = betas
        self.eps = eps
        self.r = r
        self.weight_lr_power = weight_lr_power

    def build(self, parameter_groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        """Return the optimizer in its training mode, where it stays: the parameters hold y."""
        optimizer = RAdamScheduleFree(
            with_weight_decay(parameter_groups, self.weight_decay),
            lr=self.lr,
            betas=self.betas,
            eps=self.eps,
            r=self.r,
            weight_lr_power=self.weight_lr_power,
        )
        optimizer.train()
        return optimizer

    def learning_rate(self, step: int, total_steps: int) -> float:
        """Return the constant rate; the optimizer rectifies it during its first steps."""
        return self.lr

    @torch.no_grad()
    def averaged(self, optimizer: torch.optim.Optimizer) -> dict[nn.Parameter, Tensor]:
        """Return x of each parameter as new tensors; the raw y stays in the parameters.

        x = y + (1 - 1/β₁)(z - y), the bits that ``optimizer.eval()`` would write.
        """
        average: dict[nn.Parameter, Tensor] = {}
        for group in optimizer.param_groups:
            weight = 1 - 1 / group["betas"][0]
            for parameter in group["params"]:
                z = optimizer.state[parameter].get("z")
                average[parameter] = (
                    parameter.clone() if z is None else torch.lerp(parameter, z, weight)
                )
        return average

    @torch.no_grad()
    def copy_rows(
        self,
        optimizer: torch.optim.Optimizer,
        parameter: nn.Parameter,
        rows: Tensor,
        source: Tensor,
    ) -> None:
        """Copy the moments, and have z and the average of these rows begin where they are."""
        super().copy_rows(optimizer, parameter, rows, source)
        if "z" in (state := optimizer.state[parameter]):
            state["z"][rows] = parameter[rows]
