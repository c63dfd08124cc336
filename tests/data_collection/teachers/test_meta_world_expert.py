import numpy as np
import pytest
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.policies import ENV_POLICY_MAP

from data_collection.envs.gymnasium_env import GymnasiumEnv
from data_collection.envs.meta_world import MetaWorld
from data_collection.teachers import teachers
from data_collection.teachers.meta_world_expert import MetaWorldExpert
from trainer.environment import STATE
from trainer.errors import ConfigError

RNG = np.random.default_rng(0)


def solves(task: str, seed: int) -> bool:
    environment, expert = MetaWorld(task=task), MetaWorldExpert()
    observation = environment.reset(seed)
    for _ in range(environment.max_steps):
        result = environment.step(expert.act(environment, observation, RNG))
        observation = result.observation
        if result.success:
            return True
    return False


@pytest.mark.parametrize("task", ["pick-place-v3", "door-open-v3", "button-press-topdown-v3"])
def test_the_expert_solves_its_task(task):
    assert sum(solves(task, seed) for seed in range(3)) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("task", ALL_V3_ENVIRONMENTS)
def test_every_task_has_an_expert_that_solves_it_mostly(task):
    assert sum(solves(task, seed) for seed in range(5)) >= 3


def test_its_actions_are_the_scripts_own_clipped():
    environment, expert = MetaWorld(task="push-v3"), MetaWorldExpert()
    script = ENV_POLICY_MAP["push-v3"]()
    observation, largest = environment.reset(1), 0.0
    for _ in range(30):
        raw = script.get_action(environment.full_state)
        largest = max(largest, np.abs(raw).max())
        action = expert.act(environment, observation, RNG)
        assert action.dtype == np.float32
        np.testing.assert_array_equal(action, np.clip(raw, -1, 1).astype(np.float32))
        observation = environment.step(action).observation
    assert largest > 1


@pytest.mark.parametrize("task", ["door-open-v3", "door-close-v3"])
def test_asking_the_expert_changes_nothing(task):
    environment, expert = MetaWorld(task=task), MetaWorldExpert()
    observation = environment.reset(1)
    before = environment.full_state, observation[STATE].copy()
    first = expert.act(environment, observation, RNG)
    np.testing.assert_array_equal(first, expert.act(environment, observation, RNG))
    np.testing.assert_array_equal(environment.full_state, before[0])
    np.testing.assert_array_equal(observation[STATE], before[1])


def test_one_expert_serves_environments_with_different_tasks():
    expert = MetaWorldExpert()
    reach, push = MetaWorld(task="reach-v3"), MetaWorld(task="push-v3")
    for environment in (reach, push, reach):
        observation = environment.reset(0)
        own = MetaWorldExpert().act(environment, observation, RNG)
        np.testing.assert_array_equal(expert.act(environment, observation, RNG), own)


def test_it_teaches_no_other_environment():
    environment = GymnasiumEnv(id="Hopper-v5")
    with pytest.raises(ConfigError, match="teaches meta_world alone, not GymnasiumEnv"):
        MetaWorldExpert().act(environment, environment.reset(0), RNG)


def test_it_is_registered_under_its_own_name():
    assert teachers.get("meta_world_expert") is MetaWorldExpert
