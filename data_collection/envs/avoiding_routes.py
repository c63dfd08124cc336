"""Three rows of obstacles, the 24 routes between them, and how evenly routes are taken.

Positions are (x, y) in metres; y grows towards the goal line, and x = 0 divides the field into two
equal halves. A row of n obstacles leaves n + 1 gates, outside it too: 2 · 3 · 4 = 24 routes.

Source: Avoiding, one of the tasks of Jia et al., D3IL, 2024, at a size of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ROWS_Y_M = (0.2, 0.4, 0.6)
"""Where the rows of one, two and three obstacles lie."""
GOAL_Y_M = 0.7
START_M = (0.0, 0.0)
FIELD_LOW_M = np.array([-0.4, -0.05])
FIELD_HIGH_M = np.array([0.4, 0.75])
"""The corners of the field, which has walls."""
SPACING_M = 0.15
"""Between neighbours in a row."""
OBSTACLE_RADIUS_M = 0.03
GATES = (2, 3, 4)
"""How many gates each row has."""
ROUTES = 24


def spaced(count: int) -> np.ndarray:
    """Return (count,) the x of equally spaced places around 0: of ``count`` obstacles or gates."""
    return SPACING_M * (np.arange(count) - (count - 1) / 2)


OBSTACLES_N2 = np.array(
    [(x, y) for gates, y in zip(GATES, ROWS_Y_M, strict=True) for x in spaced(gates - 1)]
)


def gates_of(route: int) -> np.ndarray:
    """Return (3, 2) the middle of the gate that a route, 0 to 23, takes through each row."""
    chosen = np.unravel_index(route, GATES)
    return np.array([(spaced(n)[i], y) for n, i, y in zip(GATES, chosen, ROWS_Y_M, strict=True)])


def route_of(path_t2: np.ndarray) -> int | None:
    """Return the route, 0 to 23, of the positions (T, 2) of an episode, straight in between.

    A row that is crossed several times counts as it was crossed last; a path that does not end
    behind all rows has no route. Whether it touched an obstacle is another question.
    """
    chosen = [_gate(path_t2, n, y) for n, y in zip(GATES, ROWS_Y_M, strict=True)]
    if None in chosen:
        return None
    return int(np.ravel_multi_index(chosen, GATES))  # type: ignore[arg-type]


def _gate(path_t2: np.ndarray, gates: int, y: float) -> int | None:
    """Return through which gate, from the left, a path crossed the row at ``y``."""
    behind = path_t2[:, 1] >= y
    crossings = np.flatnonzero(~behind[:-1] & behind[1:])
    if not behind[-1] or not len(crossings):
        return None
    (x0, y0), (x1, y1) = path_t2[crossings[-1]], path_t2[crossings[-1] + 1]
    x = x0 + (x1 - x0) * (y - y0) / (y1 - y0)
    return int((x > spaced(gates - 1)).sum())


def touches_obstacle(start_2: np.ndarray, end_2: np.ndarray) -> bool:
    """Return whether the straight way between two positions comes upon an obstacle."""
    way = end_2 - start_2
    length2 = way @ way
    share_n = np.clip((OBSTACLES_N2 - start_2) @ way / length2, 0, 1) if length2 else np.zeros(1)
    nearest_n2 = start_2 + share_n[:, None] * way
    distance_n = np.linalg.norm(OBSTACLES_N2 - nearest_n2, axis=1)
    return bool((distance_n <= OBSTACLE_RADIUS_M).any())


def behavior_entropy(routes_by_start: Sequence[Sequence[int]]) -> float:
    """Return how evenly routes are taken: 0, always the same one, to 1, all 24 alike.

    The entropy to the base 24 of the routes of the successful rollouts from one start state,
    averaged over the start states; one without a success counts 0 (Jia et al., D3IL, 2024).
    """
    return float(np.mean([_entropy(np.array(routes, np.int64)) for routes in routes_by_start]))


def _entropy(routes: np.ndarray) -> float:
    counts = np.bincount(routes, minlength=ROUTES)
    share = counts[counts > 0] / len(routes)
    return float((share * -np.log(share)).sum() / np.log(ROUTES))
