import numpy as np
import pytest

from data_collection.envs.meta_world import MetaWorld
from data_collection.episodes import EpisodeAttributes, read_episode, write_episode
from data_collection.rollout import Driver, EpisodeHooks
from data_collection.teachers.meta_world_expert import MetaWorldExpert
from trainer.environment import STATE
from trainer.rollout import RolloutJob, rollout


def record(task="reach-v3", seeds=(0,), noise=None, slots=1):
    episodes = {}
    teacher = MetaWorldExpert()
    hooks = EpisodeHooks(
        teacher,
        driver_of=lambda job: Driver(teacher, noise and noise * np.eye(4)),
        on_episode=lambda result, arrays: episodes.__setitem__(result.id, (result, arrays)),
    )
    environments = [MetaWorld(task=task) for _ in range(slots)]
    list(rollout(environments, [RolloutJob(str(s), s) for s in seeds], hooks=hooks))
    return episodes


def test_playing_the_executed_actions_again_gives_the_recorded_episode():
    result, arrays = record(noise=0.2)["0"]
    environment = MetaWorld(task="reach-v3")
    observation = environment.reset(0)
    for t, action in enumerate(arrays["executed_action"]):
        np.testing.assert_array_equal(arrays[STATE][t], observation[STATE])
        step = environment.step(action)
        assert arrays["reward"][t] == np.float32(step.reward)
        observation = step.observation
    assert (result.length, result.success) == (len(arrays[STATE]), step.success)


def test_without_noise_the_expert_executes_its_labels():
    _, arrays = record()["0"]
    np.testing.assert_array_equal(arrays["action"], arrays["executed_action"])
    assert arrays["action_valid"].all()
    assert (arrays["actor"] == 0).all()


def test_noise_disturbs_what_is_executed_and_not_the_label():
    _, arrays = record(seeds=range(8), noise=0.3, task="push-v3")["3"]
    disturbance = arrays["executed_action"] - arrays["action"]
    assert np.abs(arrays["action"]).max() <= 1
    assert disturbance.std() == pytest.approx(0.3, rel=0.25)


def test_an_episode_does_not_depend_on_its_slot_or_neighbours():
    alone = record(seeds=[1, 2, 3], noise=0.2)
    together = record(seeds=[3, 2, 1], noise=0.2, slots=2)
    for seed, (result, arrays) in alone.items():
        other_result, other_arrays = together[seed]
        assert result.episode_return == other_result.episode_return
        for key, array in arrays.items():
            np.testing.assert_array_equal(array, other_arrays[key])


def test_a_recorded_episode_is_what_the_format_wants(tmp_path):
    result, arrays = record()["0"]
    attributes = EpisodeAttributes(seed=result.seed, success=result.success)
    written = write_episode(tmp_path, "a", arrays, attributes)
    assert written.length == result.length
    assert written.total_reward == pytest.approx(result.episode_return, rel=1e-6)
    assert read_episode(tmp_path / "episodes" / "a.h5").keys() == arrays.keys()
