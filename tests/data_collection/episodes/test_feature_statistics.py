import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data_collection.episodes import Statistics, merge_all

_rows = st.integers(0, 30).flatmap(
    lambda n: arrays(np.float32, (n, 2), elements=st.floats(-1000, 1000, width=32))
)


@given(st.lists(_rows, min_size=1, max_size=6))
def test_merged_parts_equal_numpy_on_the_whole(parts):
    merged = merge_all([Statistics.of(part) for part in parts])
    whole = np.concatenate(parts).astype(np.float64)
    assert merged.count == len(whole)
    if len(whole):
        np.testing.assert_allclose(merged.mean, whole.mean(0), rtol=1e-12, atol=1e-9)
        np.testing.assert_allclose(merged.std, whole.std(0), rtol=1e-12, atol=1e-9)
        np.testing.assert_array_equal(merged.min, whole.min(0))
        np.testing.assert_array_equal(merged.max, whole.max(0))


def test_far_from_zero_the_spread_keeps_twelve_digits():
    whole = 100 + np.random.default_rng(0).normal(size=(5000, 3))
    merged = merge_all([Statistics.of(part) for part in np.split(whole, 50)])
    np.testing.assert_allclose(merged.mean, whole.mean(0), rtol=1e-12)
    np.testing.assert_allclose(merged.std, whole.std(0), rtol=1e-12)


@given(_rows)
def test_json_restores_the_same_bits(rows):
    before = Statistics.of(rows)
    after = Statistics.from_json(json.loads(json.dumps(before.to_json(), allow_nan=False)))
    assert after.count == before.count
    for name in ("mean", "m2", "min", "max"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
