import io

import numpy as np
import pytest
import torch
from PIL import Image

from components.datasets.dagger_rounds import DaggerRounds
from trainer.errors import DataError
from trainer.interfaces import Interface

CACHES = ["ram", "none"]
HEAD = "observation.images.head"


def _pictures(steps, seed):
    """Smooth pictures which differ from step to step."""
    down, right, t = np.mgrid[0:16, 0:24, 0:steps]
    channels = [seed * 40 + 5 * t + 4 * right, 9 * down + t, 250 - 8 * t + 0 * right]
    return np.stack(channels).transpose(3, 0, 1, 2).clip(0, 255).astype(np.uint8)


@pytest.fixture
def jpeg_rounds(record, episode, jpeg):
    """Two rounds of JPEG frames; the pictures by (episode over all rounds, step)."""
    frames = [_pictures(steps, seed) for seed, steps in enumerate((4, 3, 5))]
    stored = [jpeg("head", pictures) for pictures in frames]
    episodes = [
        episode([1] * len(pictures), [0] * len(pictures), **arrays)
        for pictures, arrays in zip(frames, stored, strict=True)
    ]
    record("a", *episodes[:2])
    record("b", episodes[2])
    return frames, stored


@pytest.mark.parametrize("cache", CACHES)
def test_every_frame_is_what_another_decoder_sees(tmp_path, jpeg_rounds, cache):
    frames, stored = jpeg_rounds
    interface = Interface(2, 1, 10, 1, 1, {"head": (3, 16, 24)})
    dataset = DaggerRounds(interface, tmp_path, rounds=["a", "b"], cache=cache)
    batch = dataset.__getitems__([11, 0, 6, 4, 4])
    assert batch[HEAD].shape == (5, 2, 3, 16, 24)
    assert batch[HEAD].dtype == torch.uint8
    assert batch[HEAD].is_contiguous()
    places = zip(batch["episode_index"].tolist(), batch["frame_index"].tolist(), strict=True)
    for images, (e, t) in zip(batch[HEAD], places, strict=True):
        for image, step in zip(images, (max(t - 1, 0), t), strict=True):
            assert np.abs(image.numpy().astype(int) - frames[e][step]).max() < 40
            offsets = stored[e]["observation__images__head__offsets"]
            data = stored[e]["observation__images__head__data"][offsets[step] : offsets[step + 1]]
            expected = np.asarray(Image.open(io.BytesIO(data.tobytes()))).transpose(2, 0, 1)
            np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("cache", CACHES)
def test_a_damaged_frame_is_named_by_file_and_frame(tmp_path, record, episode, jpeg, cache):
    arrays = jpeg("head", _pictures(3, 0))
    start, stop = arrays["observation__images__head__offsets"][1:3]
    arrays["observation__images__head__data"][start + (stop - start) // 2 : stop] = 0
    record("a", episode([1] * 3, [0] * 3))
    record("b", episode([1] * 3, [0] * 3, **jpeg("head", _pictures(3, 1))))
    record("c", *(episode([1] * 3, [0] * 3, **x) for x in (jpeg("head", _pictures(3, 1)), arrays)))
    interface = Interface(1, 1, 10, 1, 1, {"head": (3, 16, 24)})
    dataset = DaggerRounds(interface, tmp_path, rounds=["b", "c"], cache=cache)
    dataset.__getitems__([6, 8])
    with pytest.raises(DataError, match=r"c/episodes/r001\.h5: .*head, frame 1 of episode r001"):
        dataset.__getitems__([6, 7])


def test_frames_of_another_size_within_a_round_are_named(tmp_path, record, episode, jpeg):
    wide = jpeg("head", _pictures(2, 0)[:, :, :8])
    record("a", *(episode([1] * 2, [0] * 2, **x) for x in (jpeg("head", _pictures(2, 0)), wide)))
    interface = Interface(1, 1, 10, 1, 1, {"head": (3, 16, 24)})
    dataset = DaggerRounds(interface, tmp_path, rounds=["a"])
    with pytest.raises(DataError, match=r"r001\.h5: .*head, frame 0 of episode r001"):
        dataset.__getitems__([2])


def test_reading_actions_decodes_nothing(tmp_path, record, episode):
    garbage = {
        "observation__images__head__data": np.zeros(9, np.uint8),
        "observation__images__head__offsets": np.array([0, 4, 9]),
    }
    record("a", episode([1, 1], [0, 0], **garbage))
    dataset = DaggerRounds(Interface(1, 1, 10, 1, 1), tmp_path, rounds=["a"])
    assert dataset.__getitems__([1])["action"].tolist() == [[[11]]]


def test_raw_and_jpeg_rounds_are_not_mixed(tmp_path, record, episode, jpeg):
    pictures = _pictures(2, 0)
    record("a", episode([1] * 2, [0] * 2, observation__images__head=pictures))
    record("b", episode([1] * 2, [0] * 2, **jpeg("head", pictures)))
    interface = Interface(1, 1, 10, 1, 1, {"head": (3, 16, 24)})
    with pytest.raises(DataError, match=r"head is JPEG in .*b, but raw in .*a; use rounds"):
        DaggerRounds(interface, tmp_path, rounds=["a", "b"])


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize(
    ("recorded", "metres"),
    [
        (np.array([1500, 40000, 65535, 2], np.uint16), [1.5, 40.0, 65.535, 0.002]),
        (np.array([1.5, 0.25, 3, 8], np.float16), [1.5, 0.25, 3.0, 8.0]),
        (np.array([1.1, 0.2, 3, 8], np.float32), [1.1, 0.2, 3.0, 8.0]),
    ],
)
def test_depth_is_delivered_in_metres(tmp_path, record, episode, cache, recorded, metres):
    one = {
        "observation__images__head": np.zeros((2, 3, 1, 2), np.uint8),
        "observation__depth__head": recorded.reshape(2, 1, 1, 2),
    }
    record("a", episode([1, 1], [0, 0], **one))
    interface = Interface(1, 1, 10, 1, 1, {"head": (3, 1, 2)})
    dataset = DaggerRounds(interface, tmp_path, rounds=["a"], cache=cache, depth=["head"])
    depth = dataset.__getitems__([0, 1])["observation.depth.head"]
    assert (depth.dtype, depth.shape) == (torch.float32, (2, 1, 1, 1, 2))
    np.testing.assert_allclose(depth.ravel(), metres, rtol=1e-6)


def test_depth_is_delivered_only_on_request(tmp_path, record, episode):
    one = {
        "observation__images__head": np.zeros((1, 3, 1, 2), np.uint8),
        "observation__depth__head": np.ones((1, 1, 1, 2), np.float16),
    }
    record("a", episode([1], [0], **one))
    interface = Interface(1, 1, 10, 1, 1, {"head": (3, 1, 2)})
    batch = DaggerRounds(interface, tmp_path, rounds=["a"]).__getitems__([0])
    assert "observation.depth.head" not in batch
    with pytest.raises(ValueError, match=r"no camera 'haed'.*did you mean 'head'"):
        DaggerRounds(interface, tmp_path, rounds=["a"], depth=["haed"])
