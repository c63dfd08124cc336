"""The contract of an environment, and the names and sizes it shares with policies and data.

Nothing here imports torch: a process which only simulates (an expert recording episodes) starts in
a fraction of the time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from trainer.errors import UserError

STATE = "observation.state"
IMAGE_PREFIX = "observation.images."
DEPTH_PREFIX = "observation.depth."
ACTION = "action"
ACTION_IS_PAD = "action_is_pad"
TASK = "task"
EPISODE_INDEX = "episode_index"
FRAME_INDEX = "frame_index"
ROUND_INDEX = "round_index"
EPISODE_START = "episode_start"
MEMORY_PREFIX = "memory."

EVALUATION_SEED_START = 10_000_000
"""Evaluation seeds start here; data collection refuses seeds from here on."""

Observation = dict[str, np.ndarray]
"""One environment step's observation: batch keys without the B and To dimensions."""


@dataclass(frozen=True)
class Interface:
    """What a policy sees and does: the sizes which data, policy and environment must agree on."""

    obs_steps: int
    chunk: int
    control_hz: float
    state: int
    action: int
    cameras: dict[str, tuple[int, int, int]] = field(default_factory=dict)


class StepResult(NamedTuple):
    """What one environment step gave; a tuple, which is made several times as fast."""

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool
    success: bool


class Environment(ABC):
    """One simulated environment. ``seed`` decides everything random in an episode.

    Its constructor is given ``root``, the project's folder, if it asks for it; its other parameters
    are ``params`` of the YAML.
    """

    control_hz: float
    max_steps: int
    action_dim: int
    imagined: bool = False
    """Whether what is stepped is only thought; see ``imagining``."""
    observation_shapes: dict[str, tuple[int, ...]]
    """Shape of each observation key, for instance ``{"observation.state": (39,)}``."""

    @property
    def unwrapped(self) -> Environment:
        """The environment itself, without what may be wrapped around it."""
        return self

    @abstractmethod
    def reset(self, seed: int) -> Observation:
        """Start an episode and return its first observation."""

    @abstractmethod
    def step(self, action: np.ndarray) -> StepResult:
        """Apply one action (A,) in real units for one control period."""

    def render(self) -> np.ndarray:
        """Return an RGB picture (H, W, 3) uint8 for videos; raise UserError when impossible."""
        raise UserError(f"{type(self).__name__} cannot render pictures")

    def prompt_of(self, seed: int) -> str | None:
        """Return the words that the pictures of an episode follow; None where there are none."""
        return None

    def save_state(self) -> object:
        """Return everything that decides the future: simulator, counters, wrappers, RNG."""
        raise UserError(f"{type(self).__name__} cannot save and restore its state")

    def restore_state(self, state: object) -> None:
        """Return exactly to a state from ``save_state``; raise UserError when impossible."""
        raise UserError(f"{type(self).__name__} cannot save and restore its state")

    @contextmanager
    def imagining(self) -> Iterator[None]:
        """Step without pictures and disturbances while entered: a teacher only thinks ahead."""
        self.imagined = True
        try:
            yield
        finally:
            self.imagined = False

    def describe(self) -> dict[str, object]:
        """Return what decides observations beside the constructor's arguments, as plain values."""
        return {}

    def close(self) -> None:
        """Free windows, renderers and files."""
        return
