"""Mixing: at each step of an on-policy round, does the student act, or the teacher?"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from trainer.environment import Environment, Observation
from trainer.registry import Registry


class Mixing(ABC):
    """Decides who acts. One instance serves many episodes; chance comes from their generators."""

    def reset(self, environment: Environment) -> None:
        """Forget the environment's last episode: a new one begins."""
        return

    def needs_teacher(self, episode_draw: float) -> bool:
        """Return whether the teacher may act in an episode with this draw.

        If so it is asked in every step; otherwise only for what is recorded, and ``teacher_acts``
        is not called.
        """
        return True

    def checkpoints(self) -> dict[str, str | None]:
        """Return the SHA-256 of the files that it decides with, under what they are to it."""
        return {}

    @abstractmethod
    def teacher_acts(
        self,
        environment: Environment,
        observation: Observation,
        label: np.ndarray,
        planned: np.ndarray,
        *,
        step: int,
        episode_draw: float,
        generator: np.random.Generator,
    ) -> bool:
        """Return True when the teacher's ``label`` (A,) is executed, not the ``planned`` action.

        ``episode_draw`` is one uniform number in [0, 1) for the whole episode; ``generator`` gives
        fresh ones for every step.
        """


mixings: Registry[Mixing] = Registry("mixing", ["round", "root"])
