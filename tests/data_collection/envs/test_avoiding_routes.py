import itertools
import math

import numpy as np
import pytest

from data_collection.envs.avoiding_routes import (
    OBSTACLES_N2,
    ROUTES,
    behavior_entropy,
    gates_of,
    route_of,
    touches_obstacle,
)

HALF_OF_TWO = math.log(2) / math.log(24)
"""The entropy of two routes that are taken alike."""


def path(*positions):
    return np.array(positions, dtype=np.float64)


def test_the_rows_have_one_two_and_three_obstacles():
    expected = [(0, 0.2), (-0.075, 0.4), (0.075, 0.4), (-0.15, 0.6), (0, 0.6), (0.15, 0.6)]
    np.testing.assert_allclose(OBSTACLES_N2, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("gates_x", "route"),
    [
        ((-0.075, -0.15, -0.225), 0),
        ((-0.075, -0.15, 0.225), 3),
        ((-0.075, 0.0, -0.225), 4),
        ((0.075, -0.15, -0.225), 12),
        ((0.075, 0.0, -0.075), 17),
        ((0.075, 0.15, 0.225), 23),
    ],
)
def test_routes_are_numbered_from_left_to_right_the_first_row_first(gates_x, route):
    gates = [(x, y) for x, y in zip(gates_x, (0.2, 0.4, 0.6), strict=True)]
    assert route_of(path((0, 0), *gates, (0, 0.7))) == route
    np.testing.assert_allclose(gates_of(route), gates, atol=1e-12)


def test_there_are_24_routes():
    ways = [route_of(path((0, 0), *gates_of(route), (0, 0.7))) for route in range(ROUTES)]
    assert ways == list(range(24))


def test_a_row_is_crossed_where_the_line_between_two_steps_meets_it():
    # x is 0.05 at y = 0.2, to the right of the obstacle, though the first step is to the left.
    right = path((-0.05, 0.15), (0.15, 0.25), (0.15, 0.45), (0.225, 0.65))
    assert route_of(right) == (1 * 3 + 2) * 4 + 3


def test_only_a_path_that_ends_behind_all_rows_has_a_route():
    assert route_of(path((0, 0))) is None
    assert route_of(path((0, 0), (-0.1, 0.3), (-0.1, 0.59))) is None
    assert route_of(path((0, 0), (-0.2, 0.65), (-0.2, 0.55))) is None
    assert route_of(path((0, 0.3), (0, 0.65))) is None


def test_the_last_crossing_counts():
    there_and_back = path((0, 0), (-0.1, 0.3), (0.3, 0.1), (0.3, 0.65))
    assert route_of(there_and_back) == 23


@pytest.mark.parametrize(
    ("start", "end", "touches"),
    [
        ((0.0301, 0.0), (0.0301, 0.3), False),
        ((0.0299, 0.0), (0.0299, 0.3), True),
        ((0.0, 0.1), (0.0, 0.3), True),  # both ends are outside
        ((0.0, 0.1), (0.0, 0.169), False),  # it ends before
        ((0.0, 0.231), (0.0, 0.3), False),  # it begins behind
        ((0.15, 0.6), (0.15, 0.6), True),
        ((0.1, 0.5), (0.1, 0.5), False),
    ],
)
def test_the_whole_step_is_looked_at_for_obstacles(start, end, touches):
    assert touches_obstacle(np.array(start), np.array(end)) is touches


def test_entropy_is_one_when_all_routes_are_taken_alike_and_zero_for_one():
    assert behavior_entropy([list(range(24)) * 20]) == pytest.approx(1)
    assert behavior_entropy([[7] * 480]) == 0
    assert behavior_entropy([[3, 5, 5, 3]]) == pytest.approx(HALF_OF_TWO)
    # -(3/4 ln 3/4 + 1/4 ln 1/4) / ln 24
    assert behavior_entropy([[3, 5, 5, 5]]) == pytest.approx(0.5623351 / 3.1780538, rel=1e-6)


def test_entropy_is_averaged_over_start_states_and_counts_zero_without_a_success():
    assert behavior_entropy([[3, 5], []]) == pytest.approx(HALF_OF_TWO / 2)
    assert behavior_entropy([[]]) == 0


def test_entropy_does_not_depend_on_which_routes_are_taken():
    pairs = itertools.combinations(range(ROUTES), 2)
    assert {round(behavior_entropy([list(pair)]), 12) for pair in pairs} == {round(HALF_OF_TWO, 12)}
