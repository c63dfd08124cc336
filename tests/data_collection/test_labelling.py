import numpy as np
import pytest

from data_collection.envs.meta_world import MetaWorld
from data_collection.labelling import ChunkLabeller, check_restorable
from data_collection.rollout import Driver, EpisodeHooks
from data_collection.teachers.meta_world_expert import MetaWorldExpert
from data_collection.teachers.uniform_random import UniformRandom
from trainer.environment import STATE, Environment, StepResult
from trainer.errors import ConfigError
from trainer.rollout import RolloutJob, rollout


def play(driver, labeller, teacher, steps=30, slots=1, every=1):
    episodes = {}
    hooks = EpisodeHooks(
        teacher,
        driver_of=lambda job: driver,
        labeller=labeller,
        label_every=every,
        on_episode=lambda result, arrays: episodes.__setitem__(result.id, arrays),
    )
    environments = [MetaWorld(task="pick-place-v3") for _ in range(slots)]
    jobs = [RolloutJob(str(s), s) for s in (3, 4)]
    list(rollout(environments, jobs, hooks=hooks, max_steps=steps))
    return episodes


def test_a_label_chunk_is_what_the_expert_does_from_there_on():
    # The driver is the expert with noise; a chunk at t must equal the expert's own episode
    # continued from the visited state, which another environment plays out here.
    teacher = MetaWorldExpert()
    labeller = ChunkLabeller(teacher, horizon=6)
    arrays = play(Driver(teacher, noise=0.4 * np.eye(4)), labeller, teacher, every=5)["3"]
    assert arrays["label.frame"].tolist() == [0, 5, 10, 15, 20, 25]
    assert arrays["label.chunk"].shape == (6, 6, 4)
    assert arrays["label.valid"].all()

    other = MetaWorld(task="pick-place-v3")
    observation = other.reset(3)
    for t in range(26):
        if t == 25:
            for k in range(6):
                action = teacher.act(other, observation, np.random.default_rng(0))
                np.testing.assert_array_equal(arrays["label.chunk"][5, k], action)
                observation = other.step(action).observation
            break
        np.testing.assert_array_equal(arrays[STATE][t], observation[STATE])
        observation = other.step(arrays["executed_action"][t]).observation


class Counting(MetaWorldExpert):
    """The expert, and how often it was asked."""

    asked = 0

    def act(self, environment, observation, generator):
        self.asked += 1
        return super().act(environment, observation, generator)

    def act_in_each(self, moments):
        assert moments, "a network cannot make a batch of nothing"
        return super().act_in_each(moments)


@pytest.mark.parametrize("horizon", [1, 6])
def test_the_expert_is_asked_for_what_is_recorded_and_nothing_else(horizon):
    teacher = Counting()
    labeller = ChunkLabeller(teacher, horizon=horizon) if horizon > 1 else None
    episodes = play(Driver(UniformRandom()), labeller, teacher, steps=30, every=8)
    labels = [int(arrays["action_valid"].sum()) for arrays in episodes.values()]
    assert labels == [4, 4]  # steps 0, 8, 16 and 24
    assert teacher.asked == 8 * horizon


def test_labelling_changes_nothing_of_the_episode():
    teacher = MetaWorldExpert()
    driver = Driver(UniformRandom())
    plain = play(driver, None, teacher)
    labelled = play(driver, ChunkLabeller(teacher, horizon=6), teacher, slots=2)
    for name, arrays in plain.items():
        for key, value in arrays.items():
            np.testing.assert_array_equal(value, labelled[name][key], err_msg=key)
        assert len(labelled[name]["label.frame"]) == 30


def test_an_undisturbed_experts_own_path_needs_no_labels():
    teacher = MetaWorldExpert()
    arrays = play(Driver(teacher), ChunkLabeller(teacher, horizon=6), teacher)["3"]
    assert arrays["label.chunk"].shape == (0, 6, 4)
    np.testing.assert_array_equal(arrays["action"], arrays["executed_action"])


def test_a_weaker_teacher_acts_and_the_experts_actions_are_the_labels():
    teacher = MetaWorldExpert()
    arrays = play(Driver(UniformRandom()), None, teacher)["3"]
    assert set(arrays["actor"]) == {2}
    environment = MetaWorld(task="pick-place-v3")
    observation = environment.reset(3)
    for label, executed in zip(arrays["action"], arrays["executed_action"], strict=True):
        expected = teacher.act(environment, observation, np.random.default_rng(0))
        np.testing.assert_array_equal(label, expected)
        observation = environment.step(executed).observation


class OneWay(Environment):
    control_hz, max_steps, action_dim = 10.0, 5, 1
    observation_shapes = {STATE: (1,)}  # noqa: RUF012 - the contract's own form

    def reset(self, seed):
        return {STATE: np.zeros(1, np.float32)}

    def step(self, action):
        return StepResult(self.reset(0), 0.0, False, False, False)


def test_a_simulator_that_cannot_go_back_is_refused_at_the_start():
    with pytest.raises(ConfigError, match="relabel: stepwise"):
        check_restorable([OneWay()])
