import contextlib
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_collection.episodes import EpisodeAttributes, EpisodeError, read_episode
from data_collection.episodes.codec import content_sha256, decode, encode

ATTRIBUTES = EpisodeAttributes(seed=3, success=True, prompt="öffne die Tür", round=2)


def _episode(seed, steps, state):
    rng = np.random.default_rng(seed)
    return {
        "observation.state": rng.normal(size=(steps, state)).astype(np.float32),
        "action": rng.normal(size=(steps, 1)).astype(np.float32),
        "action_valid": rng.random(steps) < 0.5,
        "executed_action": rng.normal(size=(steps, 1)).astype(np.float32),
        "actor": rng.integers(0, 3, steps).astype(np.uint8),
        "reward": rng.normal(size=steps).astype(np.float32),
        "terminated": rng.random(steps) < 0.5,
        "truncated": rng.random(steps) < 0.5,
        "task": rng.integers(0, 9, steps),
    }


@given(st.integers(0, 2**31), st.integers(1, 20), st.integers(0, 5))
def test_decoding_gives_back_what_was_encoded(seed, steps, state):
    arrays = _episode(seed, steps, state)
    encoded = encode("a", arrays, ATTRIBUTES)
    episode = decode(b"".join(encoded.pieces), Path("a.h5"))
    assert episode.attributes == ATTRIBUTES
    assert episode.content_sha256 == encoded.content_sha256
    assert episode.arrays.keys() == arrays.keys()
    for key, array in arrays.items():
        assert episode.arrays[key].dtype == array.dtype
        np.testing.assert_array_equal(episode.arrays[key], array)


def test_equal_episodes_give_equal_bytes_at_any_time(make_arrays):
    first = encode("a", make_arrays(images=True), ATTRIBUTES)
    time.sleep(1.1)  # HDF5 clocks count seconds
    reordered = dict(reversed(make_arrays(images=True).items()))
    assert encode("b", reordered, ATTRIBUTES) == first


def test_keys_are_paths_and_arrays_lie_aligned_and_contiguous(tmp_path, make_arrays):
    path = tmp_path / "a.h5"
    path.write_bytes(b"".join(encode("a", make_arrays(images=True), ATTRIBUTES).pieces))
    with h5py.File(path) as file:
        frames = file["observation/images/head"]
        assert frames.chunks is None
        assert frames.id.get_offset() % 64 == 0


def test_content_hash_sees_keys_dtypes_shapes_and_bytes():
    zeros = np.zeros((2, 3), np.float32)
    variants = [
        {"a": zeros},
        {"b": zeros},
        {"a": zeros.astype(np.float16)},
        {"a": zeros.reshape(3, 2)},
        {"a": zeros + 1},
    ]
    assert len({content_sha256(arrays) for arrays in variants}) == len(variants)


def test_a_truncated_file_is_named(tmp_path, make_arrays):
    image = b"".join(encode("a", make_arrays(), ATTRIBUTES).pieces)
    path = tmp_path / "short.h5"
    for size in (0, 7, 900, len(image) // 2, len(image) - 1):
        path.write_bytes(image[:size])
        with pytest.raises(EpisodeError, match=r"short\.h5"):
            read_episode(path)


def test_no_flipped_bit_gives_other_arrays(tmp_path, make_arrays):
    arrays = make_arrays()
    image = b"".join(encode("a", arrays, ATTRIBUTES).pieces)
    path = tmp_path / "flipped.h5"
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(image), 150):
        damaged = bytearray(image)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        found = arrays
        with contextlib.suppress(EpisodeError):
            found = read_episode(path)
        for key, array in arrays.items():  # it is refused, or the bit was in padding
            np.testing.assert_array_equal(found[key], array)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(EpisodeError, match=r"gone\.h5: cannot be read"):
        read_episode(tmp_path / "gone.h5")
