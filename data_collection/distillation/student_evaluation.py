"""How the student does alone, and the teacher, in the same episodes.

Shape legend: N environments, S what the one who acts sees, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from data_collection.distillation.vec_env import SUCCESS, ObservationSet, VecEnv
from trainer.errors import DataError

Act = Callable[[Tensor, Tensor], Tensor]
"""The actions (N, A) for what is seen (N, S), given where episodes begin (N,)."""

_NEVER = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Performance:
    """Means over episodes."""

    reward: float
    """The return: the sum of an episode's rewards."""
    length: float
    success: float | None
    """Share of the episodes that ended well; None where the environment does not say."""


@torch.no_grad()
def play(env: VecEnv, sees: ObservationSet, act: Act) -> Performance:
    """Return how the first episode of each environment goes.

    Args:
        env: Where it is played.
        sees: What the one who acts sees.
        act: Acts.

    Raises:
        DataError: An observation or reward is not finite.
    """
    count = env.num_envs
    observations = env.get_observations()
    begins_n = torch.ones(count, dtype=torch.bool, device=env.device)
    running_n = begins_n
    return_n = torch.zeros(count, device=env.device)
    length_n, success_n = torch.zeros_like(return_n), torch.zeros_like(return_n)
    # The first moment that was bad, on the device: 2t for step t's observation, 2t + 1 its reward.
    bad_n = torch.full((count,), _NEVER, device=env.device)
    knows_success = False
    for step in range(int(torch.as_tensor(env.max_episode_length).max())):
        seen_ns = sees(observations)
        observations, reward_n, done_n, extras = env.step(act(seen_ns, begins_n))
        for moment, finite_n in (
            (2 * step, seen_ns.isfinite().all(1)),
            (2 * step + 1, reward_n.isfinite()),
        ):
            bad_n = torch.where(running_n & ~finite_n, bad_n.clamp(max=moment), bad_n)
        begins_n = done_n.bool()
        return_n = return_n + torch.where(running_n, reward_n, 0.0)
        length_n = length_n + running_n
        if SUCCESS in extras:
            knows_success = True
            success_n = success_n + (extras[SUCCESS] & running_n)
        running_n = running_n & ~begins_n
    _check(bad_n, sees)
    success = float(success_n.mean()) if knows_success else None
    return Performance(float(return_n.mean()), float(length_n.mean()), success)


def _check(bad_n: Tensor, sees: ObservationSet) -> None:
    """Raise DataError for the first moment that was bad."""
    moment, env = (int(value) for value in bad_n.min(0))
    if moment == _NEVER:
        return
    step, is_reward = divmod(moment, 2)
    what = "the reward" if is_reward else f"an observation of {', '.join(sees.groups)}"
    raise DataError(
        f"environment {env} of the evaluation gave a value that is not finite at step {step} "
        f"({what}); look for what the simulation did there"
    )
