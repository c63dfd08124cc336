import math

import numpy as np
import pytest

from components.models.ksg import local_information
from trainer.errors import DataError


def gaussians(dimensions, nats, samples=10_000, seed=0):
    """Return x and y whose coordinates correlate in pairs: their information is -d/2 ln(1-ρ²)."""
    rho = math.sqrt(1 - math.exp(-2 * nats / dimensions))
    rng = np.random.default_rng(seed)
    x, noise = rng.standard_normal((2, samples, dimensions))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


@pytest.mark.parametrize("nats", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("dimensions", "tolerance"), [(1, 0.05), (2, 0.05), (4, 0.15)])
def test_the_mean_is_the_information_of_gaussians(dimensions, nats, tolerance):
    estimate = local_information(*gaussians(dimensions, nats), neighbours=5).mean()
    assert estimate == pytest.approx(nats, rel=tolerance)


def test_in_eight_dimensions_it_is_as_low_as_is_said():
    few = gaussians(8, 2.0, samples=3000)  # about 0.5 of the truth; 0.6 with 10,000
    assert 0.4 < local_information(*few, neighbours=5).mean() / 2.0 < 0.6


def test_independent_variables_share_nothing():
    x, _ = gaussians(2, 1.0)
    _, y = gaussians(2, 1.0, seed=1)
    assert abs(local_information(x, y, neighbours=5).mean()) < 0.02


def test_contributions_by_hand():
    x = np.array([0.0, 1.0, 3.0, 7.0])[:, None]
    y = np.array([0.0, 2.0, 3.0, 8.0])[:, None]
    # Nearest in both, by the larger difference: 2, 2, 2, 5. Strictly nearer in x: 1, 1, 0, 1
    # others, in y: 0, 1, 1, 0. And ψ(1) = -γ, ψ(2) = 1 - γ, ψ(4) = 11/6 - γ.
    expected = [5 / 6, -1 / 6, 5 / 6, 5 / 6]
    np.testing.assert_allclose(local_information(x, y, neighbours=1), expected)


def test_repeated_samples_do_no_harm():
    x, y = (np.repeat(values, 10, axis=0) for values in gaussians(1, 1.0, samples=100))
    assert np.isfinite(local_information(x, y, neighbours=5)).all()


@pytest.mark.parametrize("neighbours", [4, 5])
def test_as_many_neighbours_as_samples_are_refused(neighbours):
    with pytest.raises(DataError, match=f"neighbours is {neighbours}, but there are 4 samples"):
        local_information(np.zeros((4, 1)), np.zeros((4, 1)), neighbours)
