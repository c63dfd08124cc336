import numpy as np
import pytest

from data_collection.teachers import Teacher
from data_collection.teachers.check import check_teacher
from trainer.environment import STATE, Environment, StepResult
from trainer.errors import ConfigError, UserError


class Countdown(Environment):
    """Succeeds at its third step when the seed is even; every step pays the action."""

    control_hz, max_steps, action_dim = 10.0, 5, 1
    observation_shapes = {STATE: (1,)}  # noqa: RUF012

    def reset(self, seed):
        self.seed, self.now = seed, 0
        return {STATE: np.zeros(1, np.float32)}

    def step(self, action):
        self.now += 1
        success = self.now == 3 and self.seed % 2 == 0
        return StepResult({STATE: np.zeros(1, np.float32)}, float(action[0]), False, False, success)


class Constant(Teacher):
    def __init__(self, action):
        self.action = np.asarray(action, np.float32)
        self.resets = 0

    def reset(self, environment):
        self.resets += 1

    def act(self, environment, observation, generator):
        return self.action


def test_the_figures_are_those_of_the_episodes():
    teacher = Constant([2])
    # Seeds 4 and 6 succeed after 3 steps; 5 fails after 5.
    figures = check_teacher(teacher, Countdown(), episodes=3, seed=4)
    assert figures.success_rate == pytest.approx(2 / 3)
    assert figures.mean_return == pytest.approx(2 * (3 + 5 + 3) / 3)
    assert figures.mean_length == pytest.approx(11 / 3)
    assert teacher.resets == 3


def test_a_teacher_that_is_good_enough_passes():
    figures = check_teacher(
        Constant([2]), Countdown(), episodes=2, seed=0, min_success=0.5, min_return=8
    )
    assert (figures.success_rate, figures.mean_return) == (0.5, 8)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"min_success": 0.9}, "success rate 0.5 in 2 episodes, at least 0.9"),
        ({"min_return": 9}, "mean return 8 in 2 episodes, at least 9"),
    ],
)
def test_a_worse_teacher_is_refused(wanted, message):
    with pytest.raises(UserError, match=f"Constant is not good enough: {message}"):
        check_teacher(Constant([2]), Countdown(), episodes=2, seed=0, **wanted)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([1, 2], r"actions of shape \(2,\), the environment takes \(1,\)"),
        ([np.nan], "not finite at step 0 of seed 7"),
    ],
)
def test_actions_that_do_not_fit_are_refused(action, message):
    with pytest.raises(ConfigError, match=message):
        check_teacher(Constant(action), Countdown(), episodes=1, seed=7)


def test_episodes_end_at_the_given_step():
    assert (
        check_teacher(Constant([1]), Countdown(), episodes=1, seed=1, max_steps=2).mean_length == 2
    )
