"""Teachers of many environments at once. Each file registers one, under its own name.

Shape legend: N environments, P size of what the teacher sees, A action.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from trainer.errors import ConfigError
from trainer.registry import Registry


class VectorTeacher(ABC):
    """Says what to do in many states at once; an answer depends on its own state alone."""

    observation_size: int
    """P."""
    num_actions: int
    """A."""

    @abstractmethod
    def __call__(self, observation_np: Tensor) -> Tensor:
        """Return the actions (N, A) that are right in the states (N, P)."""

    def check(self, observation_size: int, num_actions: int, where: str) -> None:
        """Raise ConfigError when it is the teacher of another environment."""
        own = (self.observation_size, self.num_actions)
        if own != (observation_size, num_actions):
            raise ConfigError(
                f"{where}: this teacher takes {own[0]} numbers and gives {own[1]} actions; the "
                f"environment gives {observation_size} numbers (observations.teacher) and takes "
                f"{num_actions} actions; is it the teacher of another environment?"
            )


vector_teachers: Registry[VectorTeacher] = Registry("vector teacher", ["root", "device"])
