"""The scripted expert of Avoiding: it draws a route and follows it."""

from __future__ import annotations

import numpy as np

from data_collection.envs.avoiding import Avoiding
from data_collection.envs.avoiding_routes import GOAL_Y_M, ROUTES, gates_of
from data_collection.teachers import Teacher, teachers
from trainer.environment import STATE, Environment, Observation
from trainer.errors import ConfigError

SPEED_M_S = 0.4

_OVERRUN_M = 0.1
_POINTS = 1000


@teachers.register("avoiding_expert")
class AvoidingExpert(Teacher):
    """Draws one of the 24 routes for each episode, all equally likely; follows it at 0.4 m/s.

    It remembers the route, so it cannot label states that somebody else visits.
    """

    memoryless = False

    def __init__(self) -> None:
        self._ways: dict[Environment, np.ndarray] = {}

    def reset(self, environment: Environment) -> None:
        """Forget the route of the last episode there."""
        self._ways.pop(environment, None)

    def act(
        self, environment: Environment, observation: Observation, generator: np.random.Generator
    ) -> np.ndarray:
        """Return the velocity (2,); raise ConfigError for an environment other than Avoiding."""
        if not isinstance(environment, Avoiding):
            raise ConfigError(
                f"avoiding_expert teaches avoiding alone, not {type(environment).__name__}; "
                "choose another teacher or environment"
            )
        position_2 = observation[STATE][:2].astype(np.float64)
        if environment not in self._ways:
            self._ways[environment] = way_of(int(generator.integers(ROUTES)), position_2)
        hz = environment.control_hz
        target_2 = ahead(self._ways[environment], position_2[1], SPEED_M_S / hz)
        return ((target_2 - position_2) * hz).astype(np.float32)


def way_of(route: int, start_2: np.ndarray) -> np.ndarray:
    """Return closely spaced points (N, 2) on the way through a route's gates past the goal line.

    From gate to gate x is a minimum-jerk curve (Flash & Hogan, 1985, eq. 3), with y in the place of
    time: gates are passed straight on.
    """
    gates_32 = gates_of(route)
    end_2 = [gates_32[-1, 0], GOAL_Y_M + _OVERRUN_M]
    knots_x, knots_y = np.vstack([start_2, gates_32, end_2]).T
    y_n = np.linspace(knots_y[0], knots_y[-1], _POINTS)
    before_n = np.searchsorted(knots_y[1:-1], y_n, side="right")
    s_n = (y_n - knots_y[before_n]) / np.diff(knots_y)[before_n]
    x_n = knots_x[before_n] + np.diff(knots_x)[before_n] * s_n**3 * (10 - 15 * s_n + 6 * s_n**2)
    return np.column_stack([x_n, y_n])


def ahead(way_n2: np.ndarray, y: float, distance_m: float) -> np.ndarray:
    """Return the place (2,) that lies so far along a way from its place at ``y``."""
    pieces = np.linalg.norm(np.diff(way_n2, axis=0), axis=1)
    length_n = np.concatenate([[0.0], np.cumsum(pieces)])
    goal = np.interp(y, way_n2[:, 1], length_n) + distance_m
    return np.array([np.interp(goal, length_n, column_n) for column_n in way_n2.T])
