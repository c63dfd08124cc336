"""How the student does alone, and the teacher, in the same episodes.

Shape legend: N environments, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from tensordict import TensorDict
from torch import Tensor

from data_collection.distillation.vec_env import SUCCESS, VecEnv
from trainer.errors import DataError

Act = Callable[[TensorDict, Tensor], Tensor]
"""The actions (N, A) for observations, given where episodes begin (N,)."""


@dataclass(frozen=True)
class Performance:
    """Means over episodes."""

    reward: float
    """The return: the sum of an episode's rewards."""
    length: float
    success: float | None
    """Share of the episodes that ended well; None where the environment does not say."""


@torch.no_grad()
def play(env: VecEnv, act: Act) -> Performance:
    """Return how the first episode of each environment goes.

    Raises:
        DataError: A reward is not finite.
    """
    count = env.num_envs
    observations = env.get_observations()
    begins_n = torch.ones(count, dtype=torch.bool, device=env.device)
    running_n = begins_n
    return_n = torch.zeros(count, device=env.device)
    length_n, success_n = torch.zeros_like(return_n), torch.zeros_like(return_n)
    knows_success = False
    for _ in range(int(torch.as_tensor(env.max_episode_length).max())):
        observations, reward_n, done_n, extras = env.step(act(observations, begins_n))
        begins_n = done_n.bool()
        return_n = return_n + torch.where(running_n, reward_n, 0.0)
        length_n = length_n + running_n
        if SUCCESS in extras:
            knows_success = True
            success_n = success_n + (extras[SUCCESS] & running_n)
        running_n = running_n & ~begins_n
    if not return_n.isfinite().all():
        raise DataError(
            f"environment {int((~return_n.isfinite()).nonzero()[0])} of the evaluation gave a "
            "reward that is not finite"
        )
    success = float(success_n.mean()) if knows_success else None
    return Performance(float(return_n.mean()), float(length_n.mean()), success)
