"""A teacher is tried out before it teaches: does it fit the environment, and is it any good?"""

from __future__ import annotations

import time

import numpy as np

from data_collection.teachers import Teacher
from trainer.environment import Environment
from trainer.errors import ConfigError, UserError
from trainer.evaluation import Evaluation, summarize
from trainer.rollout import RolloutHooks, RolloutJob, Slot, rollout


def check_teacher(
    teacher: Teacher,
    environment: Environment,
    *,
    episodes: int,
    seed: int,
    min_success: float | None = None,
    min_return: float | None = None,
    max_steps: int | None = None,
    stop_on_success: bool = True,
) -> Evaluation:
    """Return what the teacher does in ``episodes`` episodes with seeds from ``seed`` on.

    Args:
        teacher: Who acts, without noise.
        environment: Where; it is left in some state, and not closed.
        episodes: How many episodes to play, at least one.
        seed: Of the first one.
        min_success: The success rate below which the teacher is refused (0 to 1).
        min_return: The mean return below which it is refused.
        max_steps: Ends an episode earlier than the environment itself would.
        stop_on_success: Ends an episode at its first success.

    Raises:
        ConfigError: The teacher does not fit the environment, or its actions are not finite.
        UserError: It does worse than asked for.
    """
    jobs = [RolloutJob(id=str(s), seed=s) for s in range(seed, seed + episodes)]
    start = time.perf_counter()
    results = list(
        rollout(
            [environment],
            jobs,
            hooks=_Trial(teacher),
            max_steps=max_steps,
            stop_on_success=stop_on_success,
        )
    )
    figures = summarize(results, time.perf_counter() - start)
    for name, found, wanted in (
        ("success rate", figures.success_rate, min_success),
        ("mean return", figures.mean_return, min_return),
    ):
        if wanted is not None and found < wanted:
            raise UserError(
                f"the teacher {type(teacher).__name__} is not good enough: {name} {found:g} in "
                f"{episodes} episodes, at least {wanted:g} was asked for; is it the teacher of "
                "this environment? Otherwise choose a better one, or ask for less"
            )
    return figures


class _Trial(RolloutHooks):
    """The teacher acts, and every action is looked at."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher

    def on_reset(self, slot: Slot) -> None:
        self._teacher.reset(slot.environment)

    def choose_action(self, slot: Slot, planned: np.ndarray | None) -> np.ndarray:
        action = self._teacher.act(slot.environment, slot.observation, slot.generator)
        name, wanted = type(self._teacher).__name__, (slot.environment.action_dim,)
        if action.shape != wanted:
            raise ConfigError(
                f"the teacher {name} gives actions of shape {action.shape}, the environment takes "
                f"{wanted}; is it the teacher of another environment?"
            )
        if not np.isfinite(action).all():
            raise ConfigError(
                f"the teacher {name} gave an action that is not finite at step {slot.step} of "
                f"seed {slot.job.seed}"
            )
        return action
