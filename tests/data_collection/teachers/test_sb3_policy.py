import importlib.util

import numpy as np
import pytest

from data_collection.envs.gymnasium_env import GymnasiumEnv
from data_collection.teachers.sb3_policy import Sb3Policy
from trainer.environment import STATE
from trainer.errors import CheckpointError, ConfigError

IS_INSTALLED = importlib.util.find_spec("stable_baselines3") is not None
needs_sb3 = pytest.mark.skipif(not IS_INSTALLED, reason="stable-baselines3 is not installed")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Untrained agents on Hopper and the folder of their files."""
    sb3 = pytest.importorskip("stable_baselines3", exc_type=ImportError)
    folder = tmp_path_factory.mktemp("agents")
    agents = {}
    for algorithm in ("PPO", "SAC"):
        agents[algorithm] = getattr(sb3, algorithm)("MlpPolicy", "Hopper-v5", seed=0, device="cpu")
        agents[algorithm].save(folder / f"{algorithm}.zip")
    return folder, agents


@needs_sb3
@pytest.mark.parametrize("algorithm", ["PPO", "SAC"])
def test_it_acts_as_the_saved_agent_does(saved, algorithm):
    folder, agents = saved
    teacher = Sb3Policy(folder, path=f"{algorithm}.zip", algorithm=algorithm, trust_file=True)
    environment = GymnasiumEnv(id="Hopper-v5")
    observation = environment.reset(3)
    for _ in range(5):
        action = teacher.act(environment, observation, RNG)
        expected, _ = agents[algorithm].predict(observation[STATE], deterministic=True)
        np.testing.assert_array_equal(action, expected)
        assert action.dtype == np.float32
        observation = environment.step(action).observation


@needs_sb3
def test_the_environment_of_another_agent_is_refused(saved):
    teacher = Sb3Policy(saved[0], path="PPO.zip", algorithm="PPO", trust_file=True)
    environment = GymnasiumEnv(id="HalfCheetah-v5")
    with pytest.raises(ConfigError, match=r"takes a state of shape \(11,\), the environment gives"):
        teacher.act(environment, environment.reset(0), RNG)


@needs_sb3
def test_what_is_no_agent_is_refused(tmp_path):
    (tmp_path / "a.zip").write_text("no zip")
    with pytest.raises(CheckpointError, match="PPO cannot load it"):
        Sb3Policy(tmp_path, path="a.zip", algorithm="PPO", trust_file=True)


def test_a_file_that_nobody_vouches_for_is_not_opened(tmp_path):
    (tmp_path / "a.zip").write_text("whatever")
    with pytest.raises(ConfigError, match=r"runs whatever code.*trust_file: true"):
        Sb3Policy(tmp_path, path="a.zip", algorithm="PPO")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"a\.zip: no such file"):
        Sb3Policy(tmp_path, path="a.zip", algorithm="PPO", trust_file=True)


@pytest.mark.skipif(IS_INSTALLED, reason="stable-baselines3 is installed")
def test_without_the_package_the_message_says_how_to_get_it(tmp_path):
    (tmp_path / "a.zip").write_text("whatever")
    with pytest.raises(ConfigError, match=r"needs stable_baselines3; install this project with"):
        Sb3Policy(tmp_path, path="a.zip", algorithm="PPO", trust_file=True)
