"""Teachers: who shows, or says, what to do. Each file registers one, under its own name."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from trainer.environment import Environment, Observation
from trainer.registry import Registry


class Teacher(ABC):
    """Says what to do in any state an environment can be in, whoever brought it there."""

    @abstractmethod
    def act(
        self, environment: Environment, observation: Observation, generator: np.random.Generator
    ) -> np.ndarray:
        """Return the action (A,) float32, real units, to be executed and to be learnt now.

        ``environment`` may be asked for what the learner does not see, and is not changed;
        ``observation`` is what the learner sees. Chance comes from ``generator`` alone.
        """


teachers: Registry[Teacher] = Registry("teacher")
