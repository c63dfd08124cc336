import numpy as np
import pytest

from data_collection.mixing.ensemble_gate import EnsembleGate
from data_collection.teachers.policy_checkpoint import PolicyCheckpoint
from tests.support.toy import make_toy
from trainer.checkpoint import resolve_checkpoint
from trainer.environment import STATE, Environment, StepResult

RUN = "runs/toy/exp1"


class Still(Environment):
    """Nothing happens; it fits the toy's policy."""

    control_hz, max_steps, action_dim = 20.0, 10, 3

    def __init__(self):
        self.observation_shapes = {STATE: (5,)}

    def reset(self, seed):
        self.state = np.full(5, seed / 10, np.float32)
        return {STATE: self.state}

    def step(self, action):
        return StepResult({STATE: self.state}, 0.0, False, False, False)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    toy = make_toy(tmp_path_factory.mktemp("toy"))
    assert toy.train("--set", "train.epochs=1") == 0
    return toy.root


def votes(root, seed, steps=4):
    """Return (steps, 3) what the member would do in an episode of its own."""
    member, environment, rng = PolicyCheckpoint(root, path=RUN), Still(), np.random.default_rng(0)
    observation = environment.reset(seed)
    member.reset(environment)
    return np.stack([member.act(environment, observation, rng) for _ in range(steps)])


def decisions(gate, environment, seed, label, planned):
    """Return at which steps of an episode the teacher acts."""
    observation = environment.reset(seed)
    gate.reset(environment)
    rng = np.random.default_rng(0)
    return [
        gate.teacher_acts(
            environment, observation, label_a, planned_a, step=t, episode_draw=0.0, generator=rng
        )
        for t, (label_a, planned_a) in enumerate(zip(label, planned, strict=True))
    ]


def test_the_teacher_acts_where_the_mean_is_far_from_it_or_the_votes_differ(root):
    vote_ta = votes(root, seed=3)
    offset_t = np.array([0.0, 0.4, 2.0, 0.0])[:, None]
    planned_ta = vote_ta + offset_t * np.array([1.0, 0.0, 0.0])
    # The mean of both lies halfway: 0.2 away in step 1. Their variance is (offset / 2)²: 0.04, 1.
    label_ta = vote_ta + np.array([0.0, 0.0, 1.0, 0.5])[:, None] * np.array([1.0, 0.0, 0.0])
    strict = {"members": [RUN], "discrepancy": 0.3, "variance": 0.05}
    gate = EnsembleGate(root, **strict)
    assert decisions(gate, Still(), 3, label_ta, planned_ta) == [False, False, True, True]
    gate = EnsembleGate(root, **strict | {"variance": 2.0})
    assert decisions(gate, Still(), 3, label_ta, planned_ta) == [False, False, False, True]
    gate = EnsembleGate(root, **strict | {"discrepancy": 0.1})
    assert decisions(gate, Still(), 3, label_ta, planned_ta) == [False, True, True, True]


def test_an_episode_does_not_depend_on_those_before_it(root):
    gate, environment = EnsembleGate(root, members=[RUN], discrepancy=1e-6, variance=1.0), Still()
    for seed in (7, 3, 7):  # a member that agrees to the bit has begun anew
        vote_ta = votes(root, seed)
        assert decisions(gate, environment, seed, vote_ta, vote_ta) == [False] * 4


def test_it_says_which_weights_decide(root):
    gate = EnsembleGate(root, members=[RUN], discrepancy=0.3, variance=0.1)
    assert gate.checkpoints() == {"members[0]": resolve_checkpoint(root / RUN).weights_sha256}
