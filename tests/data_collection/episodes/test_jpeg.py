import io

import numpy as np
import pytest
from PIL import Image

from data_collection.episodes.jpeg import decode_frame, encode_frame, frame_shape, join_frames


@pytest.fixture
def frame_chw():
    """Height 24, width 40: red grows to the right, green downwards, blue is 60."""
    down, right = np.mgrid[0:24, 0:40]
    return np.stack([right * 6, down * 10, np.full_like(down, 60)]).astype(np.uint8)


def test_another_decoder_sees_the_frame_the_right_way_round(frame_chw):
    picture = np.asarray(Image.open(io.BytesIO(encode_frame(frame_chw, 95))), dtype=int)
    assert picture.shape == (24, 40, 3)
    assert np.abs(picture - frame_chw.transpose(1, 2, 0)).max() <= 6


def test_another_encoders_frames_are_decoded(frame_chw):
    file = io.BytesIO()
    Image.fromarray(frame_chw.transpose(1, 2, 0)).save(file, "jpeg", quality=95)
    expected = np.asarray(Image.open(file))
    np.testing.assert_array_equal(decode_frame(file.getvalue()), expected)
    assert frame_shape(file.getvalue()) == (3, 24, 40)


def test_lower_quality_takes_fewer_bytes(frame_chw):
    noisy = frame_chw ^ np.random.default_rng(0).integers(0, 32, frame_chw.shape, np.uint8)
    sizes = [len(encode_frame(noisy, quality)) for quality in (20, 50, 95)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("part", [slice(0), slice(10), slice(0, -20), slice(5, None)])
def test_a_part_of_a_jpeg_is_refused(frame_chw, part):
    with pytest.raises(ValueError, match=r"\w"):
        decode_frame(encode_frame(frame_chw, 90)[part])


def test_joined_frames_can_be_taken_apart():
    data, offsets = join_frames([b"ab", b"", b"cde"])
    assert data.tobytes() == b"abcde"
    assert (offsets.dtype, offsets.tolist()) == (np.int64, [0, 2, 2, 5])
