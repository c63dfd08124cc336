import numpy as np
import pytest

from data_collection.envs.avoiding import Avoiding
from trainer.environment import IMAGE_PREFIX, STATE
from trainer.errors import ConfigError, UserError
from trainer.registry import environments
from trainer.schema import ComponentSpec
from trainer.signature import build

TOP = IMAGE_PREFIX + "top"
AGENT, OBSTACLE, GROUND = (40, 90, 200), (200, 60, 50), (240, 240, 240)


def drive(environment: Avoiding, velocity: tuple[float, float], steps: int):
    return [environment.step(np.float32(velocity)) for _ in range(steps)]


def test_an_action_is_a_velocity_for_one_twentieth_of_a_second():
    environment = Avoiding(fixed_start=True)
    np.testing.assert_array_equal(environment.reset(0)[STATE], np.zeros(4, np.float32))
    (result,) = drive(environment, (0.1, 0.2), 1)
    np.testing.assert_allclose(result.observation[STATE], [0.005, 0.01, 0.1, 0.2], rtol=1e-6)
    assert result.observation[STATE].dtype == np.float32
    assert (result.reward, result.terminated, result.truncated, result.success) == (
        0.0,
        False,
        False,
        False,
    )


def test_velocities_are_shortened_to_half_a_metre_a_second():
    environment = Avoiding(fixed_start=True)
    environment.reset(0)
    (result,) = drive(environment, (3.0, 4.0), 1)
    np.testing.assert_allclose(result.observation[STATE], [0.015, 0.02, 0.3, 0.4], rtol=1e-6)


def test_walls_stop_the_agent():
    environment = Avoiding(fixed_start=True)
    environment.reset(0)
    *_, result = drive(environment, (-0.5, -0.1), 30)
    np.testing.assert_allclose(result.observation[STATE], [-0.4, -0.05, 0, 0], atol=1e-7)


def test_an_obstacle_ends_the_episode_without_success():
    environment = Avoiding(fixed_start=True)
    environment.reset(0)
    # 2 cm a step: the obstacle begins at y = 0.17, between the eighth and the ninth.
    *before, last = drive(environment, (0.0, 0.4), 9)
    assert not any(result.terminated for result in before)
    assert (last.terminated, last.success, last.reward) == (True, False, 0.0)
    assert environment.route is None


def test_the_goal_line_is_a_success():
    environment = Avoiding(fixed_start=True)
    environment.reset(0)
    drive(environment, (-0.4, 0.0), 15)  # to x = -0.3, beside all obstacles
    *before, last = drive(environment, (0.0, 0.39), 36)
    assert not any(result.terminated or result.success for result in before)
    assert (last.terminated, last.success, last.reward) == (True, True, 1.0)
    assert environment.route == 0
    assert environment.path_t2.shape == (1 + 15 + 36, 2)


def test_an_episode_is_truncated_at_its_horizon():
    environment = Avoiding()
    environment.reset(0)
    results = drive(environment, (0.0, 0.0), environment.max_steps)
    assert [result.truncated for result in results] == [False] * 119 + [True]


def test_the_seed_draws_the_start_in_its_region():
    environment = Avoiding()
    starts = np.stack([environment.reset(seed)[STATE][:2] for seed in range(200)])
    assert np.abs(starts).max() <= 0.02
    assert (starts.min(axis=0) < -0.018).all()
    assert (starts.max(axis=0) > 0.018).all()
    np.testing.assert_array_equal(environment.reset(7)[STATE][:2], starts[7])


def test_a_fixed_start_is_the_same_for_every_seed():
    environment = Avoiding(fixed_start=True)
    for seed in range(5):
        np.testing.assert_array_equal(environment.reset(seed)[STATE], np.zeros(4, np.float32))


def test_a_saved_state_is_restored_to_the_bit():
    environment, other = Avoiding(), Avoiding()
    actions = np.random.default_rng(1).uniform(-0.3, 0.3, (30, 2)).astype(np.float32)

    def play(where: Avoiding) -> list[tuple[bytes, bool, bool]]:
        results = [where.step(action) for action in actions]
        return [(r.observation[STATE].tobytes(), r.terminated, r.truncated) for r in results]

    environment.reset(3)
    drive(environment, (-0.1, 0.1), 100)
    state = environment.save_state()
    expected, route = play(environment), environment.path_t2
    assert expected[-1][2]  # counted steps are part of the state
    environment.reset(8)
    for restored in (environment, other):
        restored.restore_state(state)
        assert play(restored) == expected
        np.testing.assert_array_equal(restored.path_t2, route)


def test_another_environments_state_is_refused():
    with pytest.raises(UserError, match="cannot restore a state of type str"):
        Avoiding().restore_state("elsewhere")


def test_a_camera_shows_the_field_from_above():
    environment = Avoiding(fixed_start=True, cameras={"top": (80, 80)})
    image = environment.reset(0)[TOP]
    assert environment.observation_shapes == {STATE: (4,), TOP: (3, 80, 80)}
    assert (image.shape, image.dtype) == ((3, 80, 80), np.uint8)
    assert image.flags.c_contiguous
    # A pixel is 1 cm; the field's upper left corner is (-0.4, 0.75).
    assert tuple(image[:, 75, 40]) == AGENT  # (0, 0)
    assert tuple(image[:, 15, 55]) == OBSTACLE  # (0.15, 0.6)
    assert tuple(image[:, 55, 40]) == OBSTACLE  # (0, 0.2)
    assert tuple(image[:, 55, 55]) == GROUND
    moved = drive(environment, (-0.5, 0.0), 8)[-1].observation[TOP]  # 20 cm to the left
    assert tuple(moved[:, 75, 20]) == AGENT
    assert tuple(moved[:, 75, 40]) == GROUND


def test_a_movement_of_a_tenth_of_a_pixel_is_seen():
    environment = Avoiding(fixed_start=True, cameras={"top": (80, 80)})
    image = environment.reset(0)[TOP]
    (result,) = drive(environment, (0.02, 0.0), 1)
    assert (result.observation[TOP] != image).any()


def test_pictures_need_not_be_square_and_are_left_out_where_one_only_thinks():
    environment = Avoiding(cameras={"top": (48, 64)})
    assert environment.reset(0)[TOP].shape == (3, 48, 64)
    with environment.imagining():
        (result,) = drive(environment, (0.0, 0.1), 1)
    assert list(result.observation) == [STATE]


def test_videos_show_it_too():
    environment = Avoiding()
    environment.reset(0)
    picture = environment.render()
    assert (picture.shape, picture.dtype) == ((320, 320, 3), np.uint8)


def test_it_is_built_from_plain_values():
    spec = ComponentSpec(type="avoiding", params={"cameras": {"top": [48, 64]}})
    environment = build(environments, spec, "environment")
    assert environment.observation_shapes[TOP] == (3, 48, 64)
    wrong = ComponentSpec(type="avoiding", params={"cameras": {"top": [0, 64]}})
    with pytest.raises(ConfigError, match=r"environment.params.cameras.top\[0\]"):
        build(environments, wrong, "environment")
