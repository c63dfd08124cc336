import numpy as np
import pytest

from data_collection.envs.avoiding import Avoiding
from data_collection.envs.avoiding_routes import OBSTACLES_N2, ROUTES, behavior_entropy, gates_of
from data_collection.envs.gymnasium_env import GymnasiumEnv
from data_collection.teachers import teachers
from data_collection.teachers.avoiding_expert import AvoidingExpert, ahead, way_of
from trainer.environment import STATE
from trainer.errors import ConfigError


def play(environment: Avoiding, expert: AvoidingExpert, seed: int, rng: np.random.Generator):
    """Return the route of a successful episode, None of another, and the actions."""
    expert.reset(environment)
    observation, actions = environment.reset(seed), []
    while True:
        actions.append(expert.act(environment, observation, rng))
        result = environment.step(actions[-1])
        observation = result.observation
        if result.terminated or result.truncated:
            return environment.route if result.success else None, np.stack(actions)


def test_it_succeeds_on_all_routes_and_takes_them_alike():
    environment, expert, rng = Avoiding(), AvoidingExpert(), np.random.default_rng(0)
    routes = [play(environment, expert, seed, rng)[0] for seed in range(240)]
    assert None not in routes
    assert set(routes) == set(range(ROUTES))
    assert behavior_entropy([routes]) > 0.95


def test_its_speed_is_even_and_within_the_limit():
    environment, expert, rng = Avoiding(), AvoidingExpert(), np.random.default_rng(1)
    for seed in range(20):
        _, actions = play(environment, expert, seed, rng)
        assert actions.dtype == np.float32
        speeds = np.linalg.norm(actions, axis=1)
        assert speeds.max() < 0.4 + 1e-5  # a chord is not longer than its arc
        assert speeds.min() > 0.38


@pytest.mark.parametrize("route", range(ROUTES))
def test_ways_lead_straight_through_the_gates_and_keep_clear_of_obstacles(route):
    way = way_of(route, np.array([0.02, -0.02]))
    np.testing.assert_allclose(way[0], [0.02, -0.02])
    for gate in gates_of(route):
        here = np.abs(way[:, 1] - gate[1]) < 0.005
        np.testing.assert_allclose(way[here, 0], gate[0], atol=1e-4)
    distances = np.linalg.norm(way[:, None] - OBSTACLES_N2, axis=2)
    assert distances.min() > 0.05  # their radius is 0.03


def test_the_middle_of_a_minimum_jerk_curve_is_half_way():
    way = way_of(0, np.array([0.0, 0.0]))  # to the gate at (-0.075, 0.2)
    middle = np.array([np.interp(0.1, way[:, 1], way[:, 0]), np.interp(0.05, way[:, 1], way[:, 0])])
    # At a quarter of the way: 10/64 - 15/256 + 6/1024 = 0.103515625.
    np.testing.assert_allclose(middle, [-0.0375, -0.075 * 0.103515625], atol=1e-5)


def test_a_step_ahead_is_measured_along_the_way():
    corner = np.array([[0.0, 0.0], [0.0, 1.0], [3.0, 5.0]])
    np.testing.assert_allclose(ahead(corner, 0.25, 0.5), [0.0, 0.75])
    np.testing.assert_allclose(ahead(corner, 0.5, 3.0), [1.5, 3.0])  # 0.5, then 2.5 of a 3-4-5


def test_a_route_is_kept_for_each_environment_until_its_reset():
    expert, rng = AvoidingExpert(), np.random.default_rng(0)
    same = np.random.default_rng(0)
    drawn = [int(same.integers(ROUTES)) for _ in range(3)]
    assert len(set(drawn)) == 3
    here, there = Avoiding(fixed_start=True), Avoiding(fixed_start=True)
    observation = here.reset(0)

    def first_action(route: int) -> np.ndarray:
        target = ahead(way_of(route, np.zeros(2)), 0.0, 0.02)
        return (20 * target).astype(np.float32)

    for environment, route in [(here, 0), (there, 1), (here, 0), (there, 1)]:
        action = expert.act(environment, observation, rng)
        np.testing.assert_array_equal(action, first_action(drawn[route]))
    expert.reset(here)
    np.testing.assert_array_equal(expert.act(here, observation, rng), first_action(drawn[2]))


def test_it_remembers_its_route_so_it_cannot_label_others_states():
    assert not AvoidingExpert().memoryless
    assert teachers.get("avoiding_expert") is AvoidingExpert


def test_asking_it_changes_nothing():
    environment, expert = Avoiding(), AvoidingExpert()
    observation = environment.reset(4)
    before, path = observation[STATE].copy(), environment.path_t2
    rng = np.random.default_rng(0)
    first = expert.act(environment, observation, rng)
    np.testing.assert_array_equal(expert.act(environment, observation, rng), first)
    np.testing.assert_array_equal(observation[STATE], before)
    np.testing.assert_array_equal(environment.path_t2, path)


def test_it_teaches_no_other_environment():
    environment = GymnasiumEnv(id="Hopper-v5")
    with pytest.raises(ConfigError, match="teaches avoiding alone, not GymnasiumEnv"):
        AvoidingExpert().act(environment, environment.reset(0), np.random.default_rng(0))
