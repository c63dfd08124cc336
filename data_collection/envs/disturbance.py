"""What the world does to a robot: noise on its actions, and pushes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from trainer.schema import Strict
from trainer.seeding import stream_seed


class DisturbanceConfig(Strict):
    """How much an environment disturbs; all in action units and control steps."""

    noise: NonNegativeFloat = 0.0
    """Standard deviation of Gaussian noise on every action."""
    push: NonNegativeFloat = 0.0
    """Length of a vector, in a random direction, that is added to the actions during a push."""
    push_every: PositiveInt = 40
    """Steps until the next push begins, on average, while there is none."""
    push_steps: NonNegativeInt = 5
    """How long one lasts."""


@dataclass(frozen=True)
class DisturbanceState:
    """Everything that decides the disturbances to come."""

    generator: dict[str, object]
    push_a: np.ndarray
    steps_left: int


class Disturbance:
    """Disturbs the actions of an episode; a function of the episode's seed."""

    def __init__(self, config: DisturbanceConfig, action_dim: int) -> None:
        self._config = config
        self._action_dim = action_dim
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin the disturbances of an episode."""
        self._generator = np.random.default_rng(stream_seed(seed, "disturbance"))
        self._push_a = np.zeros(self._action_dim)
        self._steps_left = 0

    def applied_to(self, action: np.ndarray) -> np.ndarray:
        """Return the action (A,) that the robot really takes, and go one step on."""
        config, generator = self._config, self._generator
        noise_a = config.noise * generator.standard_normal(self._action_dim)
        direction_a = generator.standard_normal(self._action_dim)
        begins = generator.random() < 1 / config.push_every
        if begins and self._steps_left == 0:
            self._push_a = config.push * direction_a / np.linalg.norm(direction_a)
            self._steps_left = config.push_steps
        pushed = self._steps_left > 0
        self._steps_left = max(0, self._steps_left - 1)
        return action + noise_a + (self._push_a if pushed else 0.0)

    def save(self) -> DisturbanceState:
        """Return what ``restore`` takes."""
        state = dict(self._generator.bit_generator.state)
        return DisturbanceState(state, self._push_a.copy(), self._steps_left)

    def restore(self, state: DisturbanceState) -> None:
        """Go exactly back."""
        self._generator.bit_generator.state = state.generator
        self._push_a, self._steps_left = state.push_a.copy(), state.steps_left
