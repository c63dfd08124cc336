"""The scripted experts of Meta-World, one for each of the 50 tasks."""

from __future__ import annotations

import warnings

import numpy as np
from metaworld.policies import ENV_POLICY_MAP

from data_collection.envs.meta_world import MetaWorld
from data_collection.teachers import Teacher, teachers
from trainer.environment import Environment, Observation
from trainer.errors import ConfigError


@teachers.register("meta_world_expert")
class MetaWorldExpert(Teacher):
    """The expert of the environment's own task, a function of its whole current state.

    It sees the goal and the objects even where ``state`` keeps them from the learner. Its actions,
    which reach 12 times the allowed range, are clipped to [-1, 1].
    """

    def __init__(self) -> None:
        self._scripts = {}

    def act(
        self, environment: Environment, observation: Observation, generator: np.random.Generator
    ) -> np.ndarray:
        """Return the action (4,); raise ConfigError for an environment other than Meta-World."""
        task = environment.unwrapped
        if not isinstance(task, MetaWorld):
            raise ConfigError(
                f"meta_world_expert teaches meta_world alone, not {type(task).__name__}; "
                "choose another teacher or environment"
            )
        if task.task not in self._scripts:
            self._scripts[task.task] = ENV_POLICY_MAP[task.task]()
        with warnings.catch_warnings():
            # It warns that the raw action is too large; that is why it is clipped.
            warnings.simplefilter("ignore", UserWarning)
            # Some experts write into the array they are given: full_state is a copy.
            action = self._scripts[task.task].get_action(task.full_state)
        return np.clip(action, -1.0, 1.0).astype(np.float32)
