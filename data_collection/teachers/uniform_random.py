"""A driver without a goal: actions drawn evenly from a box, for exploration data."""

from __future__ import annotations

import numpy as np

from data_collection.teachers import Teacher, teachers
from trainer.environment import Environment, Observation


@teachers.register("uniform_random")
class UniformRandom(Teacher):
    """Draws every action dimension evenly from [``low``, ``high``]."""

    def __init__(self, *, low: float = -1.0, high: float = 1.0) -> None:
        if low > high:
            raise ValueError(f"expected low <= high, got {low} and {high}")
        self._low = low
        self._high = high

    def act(
        self, environment: Environment, observation: Observation, generator: np.random.Generator
    ) -> np.ndarray:
        """Return the action (A,)."""
        action = generator.uniform(self._low, self._high, environment.action_dim)
        return action.astype(np.float32)
