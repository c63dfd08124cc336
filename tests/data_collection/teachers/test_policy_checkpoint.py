import numpy as np
import pytest
import torch

from data_collection.teachers import teachers
from data_collection.teachers.policy_checkpoint import PolicyCheckpoint
from tests.support.toy import make_toy
from trainer.acting import load_policy
from trainer.checkpoint import resolve_checkpoint
from trainer.environment import STATE, Environment, StepResult
from trainer.errors import CheckpointError, ConfigError
from trainer.seeding import stream_seed


class Walk(Environment):
    """The state sums up the actions; it fits the toy's policy."""

    control_hz, max_steps, action_dim = 20.0, 10, 3

    def __init__(self, state=5) -> None:
        self.observation_shapes = {STATE: (state,)}

    def reset(self, seed):
        self.state = np.full(self.observation_shapes[STATE], seed / 10, np.float32)
        return {STATE: self.state}

    def step(self, action):
        self.state = self.state + np.float32(0.1) * action.sum(dtype=np.float32)
        return StepResult({STATE: self.state}, 0.0, False, False, False)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The folder of a project with a policy that sees one observation, and one that sees two."""
    toy = make_toy(tmp_path_factory.mktemp("toy"))
    toy.edit(train__epochs=2)
    assert toy.train() == 0
    assert toy.train("--set", "interface.obs_steps=2", "--set", "train.save_dir=runs/history") == 0
    return toy.root


@pytest.fixture(params=["runs/toy/exp1", "runs/history"])
def path(request):
    return request.param


def acted(teacher, environment, seed, steps=7):
    """Return the states and the teacher's actions of an episode."""
    rng = np.random.default_rng(seed)
    observation = environment.reset(seed)
    teacher.reset(environment)
    states, actions = [], []
    for _ in range(steps):
        states.append(observation[STATE])
        actions.append(teacher.act(environment, observation, rng))
        observation = environment.step(actions[-1]).observation
    return np.stack(states), np.stack(actions)


@pytest.mark.parametrize("execute_horizon", [1, 3])
def test_it_acts_as_the_checkpoints_policy_does(project, path, execute_horizon):
    teacher = PolicyCheckpoint(project, path=path, execute_horizon=execute_horizon)
    states, actions = acted(teacher, Walk(), seed=4)
    saved = load_policy(resolve_checkpoint(project / path / "epoch_2"), torch.device("cpu"))
    episode_seed = int(np.random.default_rng(4).integers(2**62))
    generator = torch.Generator().manual_seed(stream_seed(episode_seed, "policy"))
    history = saved.config.interface.obs_steps
    padded = np.concatenate([states[:1]] * (history - 1) + [states])
    expected = []
    for t in range(0, len(states), execute_horizon):
        seen = {STATE: torch.from_numpy(padded[None, t : t + history])}
        chunk, _ = saved.policy.predict_action(seen, {}, [generator])
        expected.extend(chunk[0, :execute_horizon].numpy())
    np.testing.assert_array_equal(actions, np.stack(expected)[: len(actions)])


def test_episodes_that_run_side_by_side_do_not_touch_each_other(project, path):
    teacher = PolicyCheckpoint(project, path=path, execute_horizon=2)
    first, second = Walk(), Walk()
    alone = [acted(teacher, first, seed)[1] for seed in (1, 2)]
    rngs = [np.random.default_rng(seed) for seed in (1, 2)]
    observations = [first.reset(1), second.reset(2)]
    teacher.reset(first)
    teacher.reset(second)
    for t in range(7):
        for i, environment in enumerate((first, second)):
            action = teacher.act(environment, observations[i], rngs[i])
            np.testing.assert_array_equal(action, alone[i][t])
            observations[i] = environment.step(action).observation


def test_a_new_episode_begins_from_nothing(project, path):
    teacher, environment = PolicyCheckpoint(project, path=path, execute_horizon=4), Walk()
    first = acted(teacher, environment, seed=3, steps=6)  # ends in the middle of a chunk
    again = acted(teacher, environment, seed=3, steps=6)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


def test_it_says_which_weights_it_has_and_whether_it_remembers(project, path):
    checkpoint = resolve_checkpoint(project / path / "epoch_1")
    teacher = PolicyCheckpoint(project, path=f"{path}/epoch_1")
    assert teacher.checkpoint == checkpoint.weights_sha256
    history = load_policy(checkpoint, torch.device("cpu")).config.interface.obs_steps
    assert teacher.memoryless == (history == 1)
    assert not PolicyCheckpoint(project, path=path, execute_horizon=2).memoryless
    assert not PolicyCheckpoint(project, path=path, temporal_ensembling=0.1).memoryless
    assert teachers.get("policy_checkpoint") is PolicyCheckpoint


def test_what_does_not_fit_is_refused(project, path, tmp_path):
    with pytest.raises(CheckpointError, match="neither a checkpoint"):
        PolicyCheckpoint(tmp_path, path=path)
    with pytest.raises(ConfigError, match="expected 1 to 4"):
        PolicyCheckpoint(project, path=path, execute_horizon=5)
    other = Walk(state=6)
    with pytest.raises(ConfigError, match=r"the policy wants shape \(5,\), the environment gives"):
        acted(PolicyCheckpoint(project, path=path), other, seed=0)


def test_what_is_not_finite_is_an_error_of_whoever_asked(project):
    teacher = PolicyCheckpoint(project, path="runs/toy/exp1")
    environment = Walk()
    observation = {STATE: np.full(5, np.nan, np.float32)}
    teacher.reset(environment)
    with pytest.raises(ValueError, match=f"{teacher.checkpoint}: .*not finite"):
        teacher.act(environment, observation, np.random.default_rng(0))
