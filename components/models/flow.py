"""Conditional flow matching: what policies that learn a velocity field share.

Flow time runs from 0 (noise) to 1 (action). Source: Lipman et al., Flow Matching for Generative
Modeling, 2023, eqs. 20-23, with the path and the solvers of the ``flow_matching`` library.

Shape legend: B batch, H action-chunk steps, A action.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from flow_matching.path import CondOTProbPath
from flow_matching.path.path_sample import PathSample
from flow_matching.solver import ODESolver
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from trainer.ops import hide_padding
from trainer.schema import Strict

SolverName = Literal["euler", "midpoint", "dopri5"]
PATH = CondOTProbPath()
Velocity = Callable[[Tensor, Tensor], Tensor]
"""The velocity (B, H, A) at noisy chunks (B, H, A) and their flow times (B,)."""


class Flow(Strict):
    """How a velocity field is trained and integrated: the ``flow`` of a policy's parameters."""

    solver: SolverName = "euler"
    """``dopri5`` takes one row at a time: its steps depend on everything it integrates together."""
    num_steps: PositiveInt = 10
    """Integration steps of ``euler`` and ``midpoint``."""
    tolerance: PositiveFloat = 1e-5
    """Absolute and relative error of ``dopri5``."""
    time_beta: PositiveFloat = 1.5
    """Training times are distributed as Beta(1, time_beta)."""
    time_cutoff: Annotated[float, Field(gt=0, le=1)] = 0.999
    """Largest training time."""

    def draw(self, action_bha: Tensor, is_pad_bh: Tensor, generator: torch.Generator) -> PathSample:
        """Return ``x_t``, ``dx_t`` (B, H, A) and ``t`` (B,): what a training step learns from.

        ``x_t`` = (1 - t) · noise + t · action, ``dx_t`` = action - noise, with fresh noise ``x_0``;
        padded steps go from noise to other noise (see ``hide_padding``).
        """
        action_bha = hide_padding(action_bha, is_pad_bh, generator)
        time_b = beta_times(
            len(action_bha), self.time_beta, self.time_cutoff, generator, action_bha.device
        )
        noise = torch.randn(action_bha.shape, generator=generator, device=generator.device)
        return PATH.sample(x_0=noise.to(action_bha), x_1=action_bha, t=time_b)

    def sample(
        self, velocity_given: Callable[..., Velocity], noise_bha: Tensor, *given: Tensor
    ) -> Tensor:
        """Return the chunks (B, H, A) that the noise is carried to.

        Args:
            velocity_given: Returns the velocity field for (a part of the rows of) ``given``.
            noise_bha: Where the flow begins.
            given: What the velocity depends on: tensors that begin with the batch.
        """
        rows = 1 if self.solver == "dopri5" else len(noise_bha)
        parts = zip(noise_bha.split(rows), *(each.split(rows) for each in given), strict=True)
        return torch.cat(
            [
                integrate(velocity_given(*part), noise, self.solver, self.num_steps, self.tolerance)
                for noise, *part in parts
            ]
        )


DEFAULT_FLOW = Flow()


def beta_times(
    count: int, beta: float, cutoff: float, generator: torch.Generator, device: torch.device
) -> Tensor:
    """Return flow times (count,) distributed as ``cutoff`` · Beta(1, beta).

    By the inverse of the distribution function 1 - (1 - t)^beta. A beta above 1 prefers noisy
    times (Black et al., pi0, 2024, appendix B, where time runs the other way).
    """
    uniform = torch.rand(count, generator=generator, device=generator.device).to(device)
    return cutoff * (1 - (1 - uniform) ** (1 / beta))


def integrate(
    velocity: Velocity,
    noise_bha: Tensor,
    solver: SolverName,
    steps: int,
    tolerance: float,
) -> Tensor:
    """Return the action chunk that ``velocity(x (B, H, A), time (B,))`` carries the noise to.

    ``euler`` and ``midpoint`` take ``steps`` equal steps; ``dopri5`` chooses its own, for the batch
    as a whole, so that the error stays below ``tolerance``.
    """

    def field(x: Tensor, t: Tensor) -> Tensor:
        return velocity(x, t.expand(len(x)))

    points = 2 if solver == "dopri5" else steps + 1
    trajectory = ODESolver(field).sample(
        noise_bha,
        step_size=None,
        method=solver,
        time_grid=torch.linspace(0.0, 1.0, points),
        atol=tolerance,
        rtol=tolerance,
        return_intermediates=True,
    )
    return trajectory[-1]
