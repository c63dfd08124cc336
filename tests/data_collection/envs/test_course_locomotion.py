import gymnasium
import mujoco
import numpy as np
import pytest

from data_collection.envs.course_locomotion import CourseLocomotion, with_old_capsule_masses
from data_collection.rendering.cameras import CameraConfig
from data_collection.teachers.check import check_teacher
from data_collection.teachers.gaussian_mlp import GaussianMlp
from tests.support.course import COURSE, needs_course
from trainer.environment import IMAGE_PREFIX, STATE
from trainer.registry import environments

TASKS = {
    # task: numbers of the state, of the action, actions a second
    "hopper": (11, 3, 125.0),
    "half_cheetah": (17, 6, 20.0),
    "ant": (111, 8, 20.0),
    "walker2d": (17, 6, 125.0),
    "humanoid": (376, 17, 1 / 0.015),
}

RETURNS = {
    "hopper": ("Hopper", 3717),
    "half_cheetah": ("HalfCheetah", 4091),
    "ant": ("Ant", 4753),
    "humanoid": ("Humanoid", 8574),
}


def steps(environment, actions):
    results = [environment.step(action) for action in actions]
    return [(r.observation[STATE].tobytes(), r.reward, r.terminated, r.truncated) for r in results]


@pytest.mark.parametrize("task", TASKS)
def test_sizes_and_rates_are_the_courses(task):
    environment = CourseLocomotion(task=task)
    state, action, control_hz = TASKS[task]
    assert environment.observation_shapes == {STATE: (state,)}
    assert environment.reset(0)[STATE].shape == (state,)
    assert environment.action_dim == action
    assert environment.control_hz == pytest.approx(control_hz)
    assert environment.max_steps == 1000
    assert environments.get("course_locomotion") is CourseLocomotion


@pytest.mark.parametrize("task", TASKS)
def test_a_saved_state_is_restored_to_the_bit(task):
    environment, other = CourseLocomotion(task=task), CourseLocomotion(task=task)
    actions = np.random.default_rng(1).normal(0, 0.4, (40, environment.action_dim))
    environment.reset(3)
    steps(environment, actions[:10])
    state = environment.save_state()
    expected = steps(environment, actions[10:])
    environment.restore_state(state)
    assert steps(environment, actions[10:]) == expected
    other.restore_state(state)
    assert steps(other, actions[10:]) == expected


def test_ants_state_has_six_zeros_at_27():
    ours, theirs = CourseLocomotion(task="ant"), gymnasium.make("Ant-v5")
    theirs.reset(seed=2)
    ours.reset(2)
    touched = 0.0
    for action in np.random.default_rng(0).uniform(-1, 1, (60, 8)):
        expected, *_ = theirs.step(action)
        state = ours.step(action).observation[STATE]
        np.testing.assert_array_equal(state, np.insert(expected, [27] * 6, 0).astype(np.float32))
        touched = max(touched, np.abs(state[33:]).max())
    assert touched > 0  # forces of contact do come through


def test_humanoids_state_has_zeros_where_the_world_body_was():
    environment = CourseLocomotion(task="humanoid")
    environment.reset(0)
    state = environment.step(np.full(17, 0.1)).observation[STATE]
    # Positions and velocities (45), 14 bodies' inertias (10 each) and velocities (6 each), forces
    # of 23 joint axes, 14 bodies' contact forces (6 each). Nothing acts on the world, which is the
    # first body, nor on the six axes along which the torso is free.
    zeros = np.r_[45:55, 185:191, 269:275, 292:298]
    assert (state[zeros] == 0).all()
    neighbours = state[[44, 55, 64, 184, 191, 196, 268]]
    assert (neighbours != 0).all()
    masses = state[45:185].reshape(14, 10)[:, 9]
    np.testing.assert_allclose(masses[1:], humanoid_masses()[1:], rtol=1e-6)


def humanoid_masses():
    """Body masses worked out by hand from the shapes in the model."""
    model = gymnasium.make("Humanoid-v5").unwrapped.model
    masses = np.zeros(model.nbody)
    for i in range(model.ngeom):
        radius, half_length = model.geom_size[i, :2]
        if model.geom_type[i] == mujoco.mjtGeom.mjGEOM_CAPSULE:
            masses[model.geom_bodyid[i]] += 1000 * np.pi * radius**2 * (2 * half_length + radius)
        elif model.geom_type[i] == mujoco.mjtGeom.mjGEOM_SPHERE:
            masses[model.geom_bodyid[i]] += 1000 * 4 / 3 * np.pi * radius**3
    return masses


def test_capsules_weigh_what_they_did():
    capsule = '<geom name="{}" type="capsule" size="0.2 0.5"/>'
    xml = (
        '<mujoco><worldbody><body><freejoint/><geom name="ball" type="sphere" size="0.1"/>'
        f"{capsule.format('a')}</body><body pos='3 0 0'>{capsule.format('b')}</body>"
        "</worldbody></mujoco>"
    )
    model = mujoco.MjModel.from_xml_string(with_old_capsule_masses(xml))
    # L = 1, r = 0.2: 1000 π 0.04 (1 + 0.2) = 48 π; the ball keeps its 4/3 π.
    np.testing.assert_allclose(model.body_mass[1:], np.pi * np.array([48 + 4 / 3, 48]), rtol=1e-12)


def test_raw_actions_are_charged_for():
    rewards = []
    for scale in (1, 10):  # the motors take both for 1
        environment = CourseLocomotion(task="half_cheetah")
        environment.reset(0)
        rewards.append(environment.step(np.full(6, scale)).reward)
    assert rewards[0] - rewards[1] == pytest.approx(0.1 * 6 * (100 - 1))


def test_cameras_look_on():
    camera = CameraConfig(camera="track", height=16, width=20)
    environment = CourseLocomotion(task="humanoid", cameras={"side": camera}, renderer="raycast")
    observation = environment.reset(0)
    assert observation[IMAGE_PREFIX + "side"].shape == (3, 16, 20)
    assert observation[STATE].shape == (376,)
    environment.close()


def expert_return(task, episodes):
    teacher = GaussianMlp(COURSE, path=f"{RETURNS[task][0]}.pkl")
    return check_teacher(teacher, CourseLocomotion(task=task), episodes=episodes, seed=0)


@needs_course
@pytest.mark.parametrize("task", RETURNS)
def test_the_expert_runs_as_it_should(task):
    assert expert_return(task, episodes=2).mean_return > 0.9 * RETURNS[task][1]


@needs_course
@pytest.mark.slow
@pytest.mark.parametrize("task", RETURNS)
def test_the_expert_runs_as_it_should_mostly(task):
    assert expert_return(task, episodes=20).mean_return > 0.95 * RETURNS[task][1]
