import numpy as np
import pytest

from components.datasets.round_weights import sample_weights


def test_by_frame_and_none_weigh_nothing():
    assert sample_weights(None, [2, 3]) is None
    assert sample_weights("by_frame", [2, 3]) is None


@pytest.mark.parametrize(
    ("weights", "samples", "expected"),
    [
        ("by_round", [1, 4], [0.5, *[0.125] * 4]),
        ([1.0, 3.0], [2, 1], [0.125, 0.125, 0.75]),
        ({"recency": 0.5}, [1, 2, 1], [1 / 7, 1 / 7, 1 / 7, 4 / 7]),
        ([5.0, 1.0], [0, 2], [0.5, 0.5]),  # a round without samples cannot be drawn from
    ],
)
def test_rounds_share_the_draws(weights, samples, expected):
    np.testing.assert_allclose(sample_weights(weights, samples), expected)


@pytest.mark.parametrize(
    "weights",
    [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, float("nan")], {"recency": 0.0}, {"recency": 2.0}],
)
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(ValueError, match="round_weights"):
        sample_weights(weights, [2, 2])
