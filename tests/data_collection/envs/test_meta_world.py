import numpy as np
import pytest
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from data_collection.envs.disturbance import DisturbanceConfig
from data_collection.envs.meta_world import MetaWorld
from data_collection.rendering.cameras import CameraConfig
from data_collection.teachers.meta_world_expert import MetaWorldExpert
from trainer.environment import IMAGE_PREFIX, STATE
from trainer.errors import ConfigError, UserError


def noisy_expert_steps(environment: MetaWorld, count: int) -> list[tuple[object, ...]]:
    """Play the expert with noise that is the same in every call."""
    expert, generator = MetaWorldExpert(), np.random.default_rng(0)
    seen = []
    for _ in range(count):
        label = expert.act(environment, {}, generator)
        result = environment.step(label + generator.normal(0, 0.1, 4).astype(np.float32))
        seen.append((environment.full_state.tobytes(), result.reward, result.success))
    return seen


def check_restores_exactly(task: str, before: int, after: int, **options) -> None:
    environment = MetaWorld(task=task, **options)
    environment.reset(5)
    noisy_expert_steps(environment, before)
    state = environment.save_state()
    expected = noisy_expert_steps(environment, after)
    environment.restore_state(state)
    assert noisy_expert_steps(environment, after) == expected
    environment.reset(9)
    noisy_expert_steps(environment, 3)
    environment.restore_state(state)
    assert noisy_expert_steps(environment, after) == expected
    other = MetaWorld(task=task, **options)
    other.restore_state(state)
    assert noisy_expert_steps(other, after) == expected


@pytest.mark.parametrize("task", ["pick-place-v3", "bin-picking-v3", "drawer-open-v3"])
@pytest.mark.parametrize("before", [0, 1, 37])
def test_a_saved_state_is_restored_to_the_bit(task, before):
    check_restores_exactly(task, before, after=20)


DISTURBED = DisturbanceConfig(noise=0.3, push=1.0, push_every=10, push_steps=5)


def test_disturbances_are_restored_with_the_rest():
    check_restores_exactly("pick-place-v3", before=37, after=20, disturbance=DISTURBED)


def test_disturbances_follow_from_the_seed_and_are_not_imagined():
    quiet, shaken = MetaWorld(task="reach-v3"), MetaWorld(task="reach-v3", disturbance=DISTURBED)
    still = np.zeros(4, np.float32)
    paths = []
    for _ in range(2):
        shaken.reset(3)
        paths.append([shaken.step(still).observation[STATE] for _ in range(20)])
    np.testing.assert_array_equal(*paths)
    quiet.reset(3)
    assert (quiet.step(still).observation[STATE] != paths[0][0]).any()
    with shaken.imagining():
        shaken.reset(3)
        quiet.reset(3)
        for _ in range(5):
            np.testing.assert_array_equal(
                shaken.step(still).observation[STATE], quiet.step(still).observation[STATE]
            )


@pytest.mark.slow
@pytest.mark.parametrize("task", ALL_V3_ENVIRONMENTS)
def test_every_task_restores_a_saved_state_to_the_bit(task):
    check_restores_exactly(task, before=37, after=20)


def test_the_seed_decides_the_episode_whatever_was_played_before():
    first, second = MetaWorld(task="pick-place-v3"), MetaWorld(task="pick-place-v3")
    second.reset(8)
    noisy_expert_steps(second, 12)
    assert np.array_equal(first.reset(3)[STATE], second.reset(3)[STATE])
    assert noisy_expert_steps(first, 10) == noisy_expert_steps(second, 10)
    assert not np.array_equal(first.reset(4)[STATE], second.reset(3)[STATE])


def test_the_state_ends_with_the_goal_which_stays_through_the_steps():
    environment = MetaWorld(task="reach-v3")
    goal = environment.reset(0)[STATE][-3:]
    assert np.abs(goal).max() > 0.1
    after = environment.step(np.ones(4)).observation[STATE]
    np.testing.assert_array_equal(after[-3:], goal)
    assert after.dtype == np.float32


def test_a_hidden_goal_is_seen_by_the_teacher_alone():
    seeing, blind = MetaWorld(task="reach-v3"), MetaWorld(task="reach-v3", state="without_goal")
    full, partial = seeing.reset(2)[STATE], blind.reset(2)[STATE]
    assert blind.observation_shapes == {STATE: (36,)}
    np.testing.assert_array_equal(partial, full[:36])
    np.testing.assert_array_equal(blind.full_state, seeing.full_state)
    rng = np.random.default_rng(0)
    expert = MetaWorldExpert()
    np.testing.assert_array_equal(
        expert.act(blind, {STATE: partial}, rng), expert.act(seeing, {STATE: full}, rng)
    )


def test_proprioception_is_hand_and_gripper_now_and_one_step_before():
    seeing = MetaWorld(task="reach-v3")
    feeling = MetaWorld(task="reach-v3", state="proprioception")
    assert feeling.observation_shapes == {STATE: (8,)}
    before, _ = seeing.reset(2)[STATE], feeling.reset(2)
    full = seeing.step(np.ones(4)).observation[STATE]
    felt = feeling.step(np.ones(4)).observation[STATE]
    np.testing.assert_array_equal(felt, [*full[:4], *before[:4]])


def test_actions_are_clipped():
    first, second = MetaWorld(task="push-v3"), MetaWorld(task="push-v3")
    first.reset(0)
    second.reset(0)
    large = first.step(np.array([5.0, -7.0, 0.5, 30.0]))
    clipped = second.step(np.array([1.0, -1.0, 0.5, 1.0]))
    np.testing.assert_array_equal(large.observation[STATE], clipped.observation[STATE])
    assert large.reward == clipped.reward


def test_the_horizon_truncates_but_does_not_forbid_further_steps():
    environment = MetaWorld(task="reach-v3")
    environment.reset(0)
    truncated = [environment.step(np.zeros(4)).truncated for _ in range(502)]
    assert truncated == [False] * 499 + [True] * 3


def test_its_sizes_are_known_before_a_reset():
    environment = MetaWorld(task="door-open-v3")
    assert environment.control_hz == pytest.approx(80)
    assert (environment.action_dim, environment.max_steps) == (4, 500)
    assert environment.observation_shapes == {STATE: (39,)}


def test_cameras_are_part_of_the_observation_and_change_nothing_else():
    camera = CameraConfig(camera="corner2", height=24, width=32)
    plain = MetaWorld(task="pick-place-v3")
    seeing = MetaWorld(task="pick-place-v3", cameras={"head": camera}, renderer="raycast")
    assert seeing.observation_shapes == {STATE: (39,), IMAGE_PREFIX + "head": (3, 24, 32)}
    plain.reset(0)
    first = seeing.reset(0)[IMAGE_PREFIX + "head"]
    assert (first.shape, first.dtype) == ((3, 24, 32), np.uint8)
    assert noisy_expert_steps(plain, 15) == noisy_expert_steps(seeing, 15)
    later = seeing.step(np.zeros(4)).observation[IMAGE_PREFIX + "head"]
    assert (first != later).any()
    seeing.close()


def test_it_draws_a_picture_for_videos():
    environment = MetaWorld(task="pick-place-v3", renderer="raycast")
    environment.reset(0)
    picture = environment.render()
    assert (picture.shape, picture.dtype) == ((320, 320, 3), np.uint8)
    assert picture.std() > 10
    environment.close()


def test_an_unknown_task_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean 'pick-place-v3'"):
        MetaWorld(task="pick-plase-v3")


def test_states_are_refused_where_there_are_none():
    environment = MetaWorld(task="reach-v3")
    with pytest.raises(UserError, match="reset the environment"):
        environment.save_state()
    with pytest.raises(UserError, match="cannot restore a state of type dict"):
        environment.restore_state({})
