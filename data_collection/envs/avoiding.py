"""Avoiding: a point passes six obstacles to a goal line, on one of 24 equally good routes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import PositiveInt

from data_collection.envs.avoiding_routes import (
    FIELD_HIGH_M,
    FIELD_LOW_M,
    GOAL_Y_M,
    START_M,
    route_of,
    touches_obstacle,
)
from data_collection.envs.avoiding_view import TopView
from trainer.environment import IMAGE_PREFIX, STATE, Environment, Observation, StepResult
from trainer.errors import UserError
from trainer.registry import environments
from trainer.seeding import stream_seed

MAX_SPEED_M_S = 0.5
START_SPREAD_M = 0.02
"""How far from the middle an episode may start, in x and in y."""

_FILM_PIXELS = 320


@dataclass(frozen=True)
class _State:
    path: tuple[np.ndarray, ...]


@environments.register("avoiding")
class Avoiding(Environment):
    """A point moves over a plane with walls; touching an obstacle ends the episode.

    The state is the position (2), in metres, and the velocity of the last step (2), in m/s, zero at
    the start: all that decides the future, and enough to tell on which route one is. Actions are
    velocities in m/s; longer ones than 0.5 m/s are shortened to that.

    Args:
        fixed_start: Start every episode in the middle of the start region.
        cameras: Pictures of the field from above in the observation: their height and width in
            pixels, by name.
    """

    control_hz = 20.0
    max_steps = 120
    action_dim = 2

    def __init__(
        self,
        *,
        fixed_start: bool = False,
        cameras: dict[str, tuple[PositiveInt, PositiveInt]] | None = None,
    ) -> None:
        self._spread_m = 0.0 if fixed_start else START_SPREAD_M
        self._views = {
            IMAGE_PREFIX + name: TopView(*size) for name, size in (cameras or {}).items()
        }
        self.observation_shapes = {STATE: (4,)} | {
            IMAGE_PREFIX + name: (3, *size) for name, size in (cameras or {}).items()
        }
        self._film: TopView | None = None
        self._path = [np.array(START_M)]

    @property
    def path_t2(self) -> np.ndarray:
        """The positions (T, 2) of the episode so far in metres, the first and present ones too."""
        return np.stack(self._path)

    @property
    def route(self) -> int | None:
        """The route taken, 0 to 23; None before the last row is passed."""
        return route_of(self.path_t2)

    def reset(self, seed: int) -> Observation:
        """Start the episode of ``seed`` and return its first observation."""
        generator = np.random.default_rng(stream_seed(seed, "start"))
        self._path = [START_M + self._spread_m * generator.uniform(-1, 1, 2)]
        return self._observation()

    def step(self, action: np.ndarray) -> StepResult:
        """Move with the velocity ``action`` (2,) for one control period."""
        before = self._path[-1]
        after = before + shortened(action.astype(np.float64)) / self.control_hz
        after = np.clip(after, FIELD_LOW_M, FIELD_HIGH_M)
        self._path.append(after)
        collided = touches_obstacle(before, after)
        success = bool(after[1] >= GOAL_Y_M) and not collided
        return StepResult(
            observation=self._observation(),
            reward=float(success),
            terminated=collided or success,
            truncated=len(self._path) > self.max_steps,
            success=success,
        )

    def render(self) -> np.ndarray:
        """Return the field from above (H, W, 3) uint8."""
        if self._film is None:
            self._film = TopView(_FILM_PIXELS, _FILM_PIXELS)
        return self._film.draw(self._path[-1])

    def save_state(self) -> object:
        """Return everything that decides the future: the path so far."""
        return _State(tuple(self._path))

    def restore_state(self, state: object) -> None:
        """Return exactly to ``state``, also when it belongs to another episode."""
        if not isinstance(state, _State):
            raise UserError(f"avoiding: cannot restore a state of type {type(state).__name__}")
        self._path = list(state.path)

    def _observation(self) -> Observation:
        moved = self._path[-1] - self._path[-2] if len(self._path) > 1 else np.zeros(2)
        state = np.concatenate([self._path[-1], moved * self.control_hz])
        views = {} if self.imagined else self._views
        pictures = {key: view.draw(self._path[-1]) for key, view in views.items()}
        return {STATE: state.astype(np.float32)} | {
            key: np.ascontiguousarray(picture.transpose(2, 0, 1))
            for key, picture in pictures.items()
        }


def shortened(velocity_2: np.ndarray) -> np.ndarray:
    """Return a velocity in m/s of the same direction, not above the greatest speed."""
    speed = float(np.linalg.norm(velocity_2))
    return velocity_2 * (MAX_SPEED_M_S / speed) if speed > MAX_SPEED_M_S else velocity_2
