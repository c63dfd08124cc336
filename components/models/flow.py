"""Conditional flow matching: what policies that learn a velocity field share.

Flow time runs from 0 (noise) to 1 (action). Source: Lipman et al., Flow Matching for Generative
Modeling, 2023, eqs. 20-23, with the path and the solvers of the ``flow_matching`` library.
"""

from collections.abc import Callable
from typing import Literal

import torch
from flow_matching.path import CondOTProbPath
from flow_matching.path.path_sample import PathSample
from flow_matching.solver import ODESolver
from torch import Tensor

SolverName = Literal["euler", "midpoint", "dopri5"]
PATH = CondOTProbPath()


def beta_times(
    count: int, beta: float, cutoff: float, generator: torch.Generator, device: torch.device
) -> Tensor:
    """Return flow times (count,) distributed as ``cutoff`` · Beta(1, beta).

    By the inverse of the distribution function 1 - (1 - t)^beta. A beta above 1 prefers noisy
    times (Black et al., pi0, 2024, appendix B, where time runs the other way).
    """
    uniform = torch.rand(count, generator=generator, device=generator.device).to(device)
    return cutoff * (1 - (1 - uniform) ** (1 / beta))


def noisy_chunk(action_bha: Tensor, time_b: Tensor, generator: torch.Generator) -> PathSample:
    """Return the point ``x_t`` of the path from fresh noise to the action, and its velocity.

    ``x_t`` = (1 - t) · noise + t · action, ``dx_t`` = action - noise.
    """
    noise = torch.randn(action_bha.shape, generator=generator, device=generator.device)
    return PATH.sample(x_0=noise.to(action_bha), x_1=action_bha, t=time_b)


def integrate(
    velocity: Callable[[Tensor, Tensor], Tensor],
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
