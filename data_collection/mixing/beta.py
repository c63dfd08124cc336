"""The share of steps in which the teacher acts, by round (Ross, Gordon & Bagnell 2011, DAgger)."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import numpy as np

from data_collection.mixing import Mixing
from trainer.environment import Environment, Observation

Per = Literal["step", "episode"]


class BetaMixing(Mixing):
    """The teacher acts with probability beta, drawn anew for each step, or once an episode.

    Args:
        round: Index of the round; 0 is phase I, in which teachers alone act, 1 the first
            on-policy round.
        per: Whether a draw holds for a step or for an episode.
    """

    def __init__(self, round: int, per: Per) -> None:
        self.per = per
        self.beta = self.schedule(round)

    @abstractmethod
    def schedule(self, round: int) -> float:
        """Return beta for a round."""

    def needs_teacher(self, episode_draw: float) -> bool:
        """Return whether it is the teacher's episode, or may be its step."""
        return episode_draw < self.beta if self.per == "episode" else self.beta > 0

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
        """Return whether this draw falls to the teacher."""
        draw = episode_draw if self.per == "episode" else generator.random()
        return draw < self.beta
