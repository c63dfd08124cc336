"""Noise has the asked size, and pushes come and last as asked."""

import numpy as np
import pytest

from data_collection.envs.disturbance import Disturbance, DisturbanceConfig

STILL = np.zeros(4)


def test_noise_has_the_asked_standard_deviation():
    disturbance = Disturbance(DisturbanceConfig(noise=0.3), 4)
    samples = np.array([disturbance.applied_to(STILL) for _ in range(5000)])
    np.testing.assert_allclose(samples.std(axis=0), 0.3, rtol=0.05)
    np.testing.assert_allclose(samples.mean(axis=0), 0.0, atol=0.02)


def test_pushes_have_one_direction_and_last():
    disturbance = Disturbance(DisturbanceConfig(push=0.8, push_every=20, push_steps=3), 4)
    pushes = np.array([disturbance.applied_to(STILL) for _ in range(6000)])
    pushed = np.linalg.norm(pushes, axis=1) > 0
    np.testing.assert_allclose(np.linalg.norm(pushes[pushed], axis=1), 0.8)
    starts = np.flatnonzero(pushed & ~np.r_[False, pushed[:-1]])
    alone = [s for s in starts[:-1] if not pushed[s + 3]]
    assert alone
    for start in alone:
        np.testing.assert_array_equal(pushes[start : start + 3], pushes[[start] * 3])
    # One begins every 20 steps on average, never during another: 1 / (20 + 2) of the steps.
    assert pushed.sum() / 3 / len(pushed) == pytest.approx(1 / 22, rel=0.15)
