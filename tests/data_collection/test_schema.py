"""Who drives which episode of a round, the noise of drivers, and what the reference says."""

import numpy as np
import pytest
from pydantic import ValidationError

from data_collection.recording import RecordingConfig
from data_collection.schema import CollectConfig, DriverConfig, LabelConfig, StudentConfig
from tests.support.reference import documented

SECTIONS = {
    "": CollectConfig,
    "drivers": DriverConfig,
    "student": StudentConfig,
    "labels": LabelConfig,
    "recording": RecordingConfig,
}


def config(**values):
    spec = {"type": "any"}
    plain = {"plugins": [], "save_dir": "x", "episodes": 30, "environment": spec, "teacher": spec}
    return CollectConfig.model_validate(plain | values)


def test_the_drivers_shares_hold_early_and_who_drives_is_shuffled_with_the_seed():
    drivers = [{"share": 2}, {"noise": 0.1, "share": 1}]
    choices = {}
    for seed in (0, 1):
        round_ = config(drivers=drivers, seed=seed)
        choices[seed] = np.array([round_.driver_of(round_.job(i)) for i in range(30)])
        assert (choices[seed].reshape(-1, 3).sum(axis=1) == 1).all()
    assert (choices[0] != choices[1]).any()
    assert len(set(np.flatnonzero(choices[0]) % 3)) > 1


@pytest.mark.parametrize(
    ("shares", "episodes", "expected"),
    [
        ((3, 2), 1000, [600, 400]),
        ((0.6, 0.4), 60, [36, 24]),
        ((3, 3, 2), 80, [30, 30, 20]),
        ((1.4, 1), 240, [140, 100]),
        ((3.14159, 1), 1000, [759, 241]),  # no block has room for it exactly
    ],
)
def test_shares_need_not_be_whole_numbers(shares, episodes, expected):
    round_ = config(drivers=[{"share": share} for share in shares], episodes=episodes)
    drivers = [round_.driver_of(round_.job(i)) for i in range(episodes)]
    assert np.bincount(drivers).tolist() == expected


def test_a_share_too_small_for_the_round_gets_no_episode():
    round_ = config(drivers=[{"share": 100}, {"share": 1}], episodes=10)
    assert [round_.driver_of(round_.job(i)) for i in range(10)] == [0] * 10


def test_the_factor_times_its_transpose_is_the_covariance():
    covariance = np.array([[0.5, 0.2, 0.0], [0.2, 0.1, 0.0], [0.0, 0.0, 0.0]])
    factor = DriverConfig(noise_covariance=covariance.tolist()).noise_factor(3)
    np.testing.assert_allclose(factor @ factor.T, covariance, atol=1e-15)
    np.testing.assert_array_equal(DriverConfig(noise=0.3).noise_factor(2), 0.3 * np.eye(2))
    assert DriverConfig().noise_factor(2) is None


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], r"symmetric matrix of shape \(3, 3\)"),
        ([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], "symmetric"),
        ([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], "no negative eigenvalue"),
    ],
)
def test_what_is_no_covariance_is_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        DriverConfig(noise_covariance=matrix).noise_factor(3)


def test_noise_is_given_in_one_way():
    with pytest.raises(ValidationError, match="leave one out"):
        DriverConfig(noise=0.1, noise_covariance=[[1.0]])
    with pytest.raises(ValidationError, match="give that, too"):
        DriverConfig(noise=0.1, noise_student="0123")


def test_steps_are_counted_only_where_every_episode_is_kept():
    with pytest.raises(ValidationError, match="needs keep_failures: true"):
        config(min_steps=100)


@pytest.mark.parametrize("section", SECTIONS)
def test_the_reference_has_every_key_of_the_schema_and_no_other(section):
    expected = SECTIONS[section].model_fields
    assert sorted(documented("collect_yaml.md", section)) == sorted(expected)
