import pytest
import torch

from data_collection.distillation.student_evaluation import play
from data_collection.distillation.vec_env import ObservationSet
from tests.support.vector_toy import VectorToy
from trainer.errors import DataError


def played(group="student", act=lambda seen_ns, _: -seen_ns[:, :2], **params):
    env = VectorToy(4, torch.device("cpu"), 0, **params)
    return play(env, ObservationSet([group], env.get_observations(), "here"), act)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        # In the toy it is environment 2 whose reward is bad, after so many steps.
        ({"nan_reward_at": 3}, r"environment 2 of the .* at step 2 \(the reward\)"),
        ({"nan_observation_at": 3}, r"environment 1 .* at step 3 \(an observation of student\)"),
        # A bad reward and a bad observation: the one that comes first.
        ({"nan_reward_at": 3, "nan_observation_at": 3}, r"at step 2 \(the reward"),
        ({"nan_reward_at": 4, "nan_observation_at": 3}, r"at step 3 \(an observation"),
        ({"nan_reward_at": 5, "nan_observation_at": 3}, r"at step 3 \(an observation"),
    ],
)
def test_the_first_bad_value_is_named_by_environment_and_step(params, message):
    with pytest.raises(DataError, match=message):
        played(**params)


def test_what_nobody_sees_may_be_anything():
    played("teacher", nan_observation_at=3)


def test_what_comes_after_the_first_episode_does_not_count():
    # Environment 2 has done two of its seven steps when it begins.
    assert played(nan_reward_at=6) == played()
    with pytest.raises(DataError, match=r"environment 2 of the evaluation .* at step 4 "):
        played(nan_reward_at=5)


def test_returns_and_lengths_are_those_of_the_first_episodes():
    env, seen = VectorToy(4, torch.device("cpu"), 0), []

    class Watched(VectorToy):
        def step(self, actions):
            answer = super().step(actions)
            seen.append(answer[1])
            return answer

    watched = Watched(4, torch.device("cpu"), 0)
    sees = ObservationSet(["student"], env.get_observations(), "here")
    found = play(watched, sees, lambda seen_ns, _: -seen_ns[:, :2])
    rewards_tn = torch.stack(seen)
    expected = sum(float(rewards_tn[: 7 - env, env].sum()) for env in range(4)) / 4
    assert found.reward == pytest.approx(expected)
    assert found.length == (7 + 6 + 5 + 4) / 4
    assert found.success is None
