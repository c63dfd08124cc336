import json
from dataclasses import asdict

import pytest

from trainer.evaluation import Evaluation, summarize, wilson_interval
from trainer.rollout import EpisodeResult


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # R: prop.test(x, n, correct = FALSE)$conf.int
        (95, 100, 0.8882495, 0.9784567),
        (0, 20, 0.0, 0.1611252),
        (20, 20, 0.8388748, 1.0),
        (7, 10, 0.3967781, 0.8922087),
    ],
)
def test_the_interval_is_wilsons(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=2e-6)


def test_without_trials_nothing_is_known():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_figures_are_those_of_the_episodes():
    results = [
        EpisodeResult("a", 1, 10, True, 4.0, 2, 0.02),
        EpisodeResult("b", 2, 30, False, 8.0, 6, 0.06),
    ]
    evaluation = summarize(results[::-1], 3.0)  # the shorter one need not end first
    assert evaluation.success_rate == 0.5
    assert evaluation.mean_return == 6.0
    assert evaluation.std_return == 2.0
    assert evaluation.mean_length == 20.0
    assert evaluation.seconds_per_decision == pytest.approx(0.01)
    figures = evaluation.figures()
    assert figures["evaluation/success_rate"] == 0.5
    assert 0 < figures["evaluation/success_low"] < 0.5 < figures["evaluation/success_high"] < 1
    assert set(figures) == set(Evaluation.figure_names())
    assert evaluation.results == (
        {"seed": 1, "success": True, "return": 4.0, "length": 10},
        {"seed": 2, "success": False, "return": 8.0, "length": 30},
    )
    assert Evaluation.from_plain(json.loads(json.dumps(asdict(evaluation)))) == evaluation


def test_a_record_from_before_episodes_had_seeds_is_still_read():
    plain = {
        "episodes": 2,
        "success_rate": 0.5,
        "success_interval": [0.1, 0.9],
        "mean_return": 6.0,
        "std_return": 2.0,
        "mean_length": 20.0,
        "seconds_per_decision": 0.01,
        "seconds": 3.0,
        "returns": [8.0, 4.0],
        "lengths": [30, 10],
    }
    evaluation = Evaluation.from_plain(plain)
    assert (evaluation.returns, evaluation.lengths) == ((8.0, 4.0), (30, 10))
    assert evaluation.results[0]["seed"] is None
    assert Evaluation.from_plain(json.loads(json.dumps(asdict(evaluation)))) == evaluation
