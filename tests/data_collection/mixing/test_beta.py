import numpy as np
import pytest

from data_collection.mixing.beta_constant import BetaConstant
from data_collection.mixing.beta_exponential import BetaExponential
from data_collection.mixing.beta_first_round_only import BetaFirstRoundOnly
from data_collection.mixing.beta_linear import BetaLinear


@pytest.mark.parametrize(
    ("make", "betas"),
    [
        (lambda i: BetaConstant(i, beta=0.3), [0.3, 0.3, 0.3, 0.3]),
        (lambda i: BetaLinear(i, rounds=3), [1.0, 2 / 3, 1 / 3, 0.0]),
        (lambda i: BetaExponential(i, p=0.5), [1.0, 0.5, 0.25, 0.125]),
        (lambda i: BetaFirstRoundOnly(i), [1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_schedules_are_those_of_ross_2011(make, betas):
    assert [make(i).beta for i in range(4)] == pytest.approx(betas)


def share(mixing, draws):
    generator = np.random.default_rng(0)
    return np.mean(
        [
            mixing.teacher_acts(
                None, {}, None, None, step=0, episode_draw=draw, generator=generator
            )
            for draw in draws
        ]
    )


def test_per_step_the_teacher_acts_in_its_share_of_steps_whatever_the_episodes_draw():
    found = share(BetaConstant(1, beta=0.3), [0.99] * 4000)
    assert abs(found - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 4000)


def test_the_teacher_is_needed_where_it_may_act():
    assert not BetaConstant(1, beta=0.0).needs_teacher(0.0)
    assert BetaConstant(1, beta=0.3).needs_teacher(0.99)
    per_episode = BetaConstant(1, beta=0.3, per="episode")
    assert per_episode.needs_teacher(0.29)
    assert not per_episode.needs_teacher(0.31)


def test_per_episode_one_draw_decides():
    mixing = BetaConstant(1, beta=0.3, per="episode")
    assert share(mixing, [0.29] * 10) == 1.0
    assert share(mixing, [0.31] * 10) == 0.0
