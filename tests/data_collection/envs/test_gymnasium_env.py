import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from data_collection.envs.gymnasium_env import GymnasiumEnv
from data_collection.rendering.cameras import CameraConfig
from trainer.environment import IMAGE_PREFIX, STATE
from trainer.errors import ConfigError, UserError


class Goals(gymnasium.Env):
    """A goal environment without a horizon or a control rate."""

    def __init__(self, frame_rate: int | None = None) -> None:
        self.metadata = {"render_modes": [], "render_fps": frame_rate}
        parts = {"observation": 2, "achieved_goal": 1, "desired_goal": 1}
        self.observation_space = spaces.Dict(
            {name: spaces.Box(-1, 1, (size,)) for name, size in parts.items()}
        )
        self.action_space = spaces.Box(-1, 1, (1,))

    def observe(self):
        return {
            "observation": np.array([0.1, 0.2]),
            "achieved_goal": np.array([0.3]),
            "desired_goal": np.array([0.4]),
        }

    def reset(self, *, seed=None, options=None):
        return self.observe(), {}

    def step(self, action):
        return self.observe(), 1.5, False, False, {"is_success": 1.0}


gymnasium.register("Goals-v0", Goals)


def steps(environment: GymnasiumEnv, actions: np.ndarray) -> list[tuple[object, ...]]:
    results = [environment.step(action) for action in actions]
    return [(r.observation[STATE].tobytes(), r.reward, r.terminated, r.truncated) for r in results]


# Ant and Humanoid read poses which the simulator leaves one substep behind; Pusher and Reacher
# keep attributes of their own.
@pytest.mark.parametrize("id", ["Hopper-v5", "Ant-v5", "Humanoid-v5", "Pusher-v5", "Reacher-v5"])
def test_a_saved_state_is_restored_to_the_bit(id):
    environment, other = GymnasiumEnv(id=id), GymnasiumEnv(id=id)
    actions = np.random.default_rng(1).normal(0, 0.4, (60, environment.action_dim))
    environment.reset(3)
    steps(environment, actions[:10])
    state = environment.save_state()
    expected = steps(environment, actions[10:])
    environment.restore_state(state)
    assert steps(environment, actions[10:]) == expected
    environment.reset(8)
    environment.step(actions[0])
    environment.restore_state(state)
    assert steps(environment, actions[10:]) == expected
    other.restore_state(state)
    assert steps(other, actions[10:]) == expected


def test_it_is_the_gymnasium_environment_itself():
    ours, theirs = GymnasiumEnv(id="HalfCheetah-v5"), gymnasium.make("HalfCheetah-v5")
    expected, _ = theirs.reset(seed=4)
    np.testing.assert_array_equal(ours.reset(4)[STATE], expected.astype(np.float32))
    for action in np.random.default_rng(0).normal(0, 2, (20, 6)).astype(np.float32):
        expected, reward, *_ = theirs.step(action)
        result = ours.step(action)
        np.testing.assert_array_equal(result.observation[STATE], expected.astype(np.float32))
        assert result.reward == reward  # the raw action is charged for, not a clipped one
    assert (ours.control_hz, ours.max_steps, ours.action_dim) == (20, 1000, 6)
    assert ours.observation_shapes == {STATE: (17,)}


def test_make_args_reach_the_environment():
    environment = GymnasiumEnv(
        id="HalfCheetah-v5", make_args={"exclude_current_positions_from_observation": False}
    )
    assert environment.observation_shapes == {STATE: (18,)}


def test_max_steps_replaces_the_registered_horizon():
    environment = GymnasiumEnv(id="Pendulum-v1", max_steps=3)
    environment.reset(0)
    assert [environment.step(np.zeros(1)).truncated for _ in range(3)] == [False, False, True]


def test_a_goal_environments_state_is_observation_and_desired_goal():
    environment = GymnasiumEnv(id="Goals-v0", max_steps=5, control_hz=10.0)
    assert environment.observation_shapes == {STATE: (3,)}
    np.testing.assert_array_equal(environment.reset(0)[STATE], np.float32([0.1, 0.2, 0.4]))
    result = environment.step(np.zeros(1))
    assert (result.success, result.reward) == (True, 1.5)


def test_what_the_environment_does_not_say_has_to_be_given():
    with pytest.raises(ConfigError, match="does not say its max_steps"):
        GymnasiumEnv(id="Goals-v0", control_hz=10.0)
    with pytest.raises(ConfigError, match="does not say its control_hz"):
        GymnasiumEnv(id="Goals-v0", max_steps=5)
    rate = GymnasiumEnv(id="Goals-v0", max_steps=5, make_args={"frame_rate": 30}).control_hz
    assert rate == 30


def test_cameras_and_videos_come_from_the_simulation():
    camera = CameraConfig(camera="track", height=16, width=20)
    environment = GymnasiumEnv(id="Hopper-v5", cameras={"side": camera}, renderer="raycast")
    image = environment.reset(0)[IMAGE_PREFIX + "side"]
    assert environment.observation_shapes[IMAGE_PREFIX + "side"] == image.shape == (3, 16, 20)
    assert environment.render().shape == (320, 320, 3)
    environment.close()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"id": "Hoper-v5"}, "did you mean 'Hopper-v5'"),
        ({"id": "Hopper-v5", "make_args": {"gravity": 1}}, "cannot be made with"),
        ({"id": "CartPole-v1"}, r"expected a vector of numbers \(Box\) as action, got Discrete"),
        ({"id": "FrozenLake-v1"}, r"as observation, got Discrete"),
        (
            {"id": "Pendulum-v1", "cameras": {"a": CameraConfig(camera="a", height=8, width=8)}},
            "only MuJoCo environments can have cameras",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(params, message):
    with pytest.raises(ConfigError, match=message):
        GymnasiumEnv(**params)


def test_without_a_simulation_there_are_no_states_and_no_pictures():
    environment = GymnasiumEnv(id="Pendulum-v1")
    environment.reset(0)
    with pytest.raises(UserError, match="only MuJoCo environments can save"):
        environment.save_state()
    with pytest.raises(UserError, match="render_mode: rgb_array"):
        environment.render()
