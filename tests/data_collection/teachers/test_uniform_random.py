import numpy as np
import pytest

from data_collection.envs.gymnasium_env import GymnasiumEnv
from data_collection.teachers.uniform_random import UniformRandom


def test_actions_fill_the_box_and_follow_the_generator():
    environment = GymnasiumEnv(id="Hopper-v5")
    teacher, observation = UniformRandom(low=-0.5, high=2.0), environment.reset(0)
    rng = np.random.default_rng(3)
    actions = np.stack([teacher.act(environment, observation, rng) for _ in range(500)])
    assert actions.shape == (500, 3)
    assert actions.dtype == np.float32
    assert -0.5 <= actions.min() < -0.4
    assert 1.9 < actions.max() <= 2.0
    again = teacher.act(environment, observation, np.random.default_rng(3))
    np.testing.assert_array_equal(again, actions[0])


def test_an_empty_box_is_refused():
    with pytest.raises(ValueError, match="expected low <= high"):
        UniformRandom(low=1.0, high=-1.0)
