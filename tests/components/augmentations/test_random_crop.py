import numpy as np
import pytest
import torch

from components.augmentations.random_crop import RandomCrop
from trainer.errors import ConfigError
from trainer.interfaces import DEPTH_PREFIX, IMAGE_PREFIX, STATE

HEAD, LEFT, DEPTH = IMAGE_PREFIX + "head", IMAGE_PREFIX + "left", DEPTH_PREFIX + "head"


def make_batch(rows=64):
    generator = torch.Generator().manual_seed(0)
    shape = (rows, 2, 3, 6, 8)
    return {
        HEAD: torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),
        LEFT: torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),
        DEPTH: torch.rand(rows, 2, 1, 6, 8, generator=generator),
        STATE: torch.zeros(rows, 2, 4),
    }


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def offset_of(image, cropped, pad):
    """Return where ``cropped`` lies in the padded ``image``, both (…, H, W), for all frames."""
    sides = [(0, 0)] * (image.ndim - 2) + [(pad, pad)] * 2
    padded = np.pad(image.numpy(), sides, mode="edge")
    height, width = cropped.shape[-2:]
    places = [
        (top, left)
        for top in range(padded.shape[-2] - height + 1)
        for left in range(padded.shape[-1] - width + 1)
        if np.array_equal(padded[..., top : top + height, left : left + width], cropped.numpy())
    ]
    assert len(places) == 1, places
    return places[0]


@pytest.mark.parametrize("size", [None, (5, 4)])
def test_every_sample_and_camera_is_cut_elsewhere_and_its_history_and_depth_alike(size):
    batch = make_batch()
    cropped = RandomCrop(pad=2, size=size)(batch, generator())
    assert cropped[HEAD].shape == (64, 2, 3, *(size or (6, 8)))
    places = {
        key: [offset_of(batch[key][i], cropped[key][i], pad=2) for i in range(64)]
        for key in (HEAD, LEFT, DEPTH)
    }
    assert places[DEPTH] == places[HEAD] != places[LEFT]
    tops, lefts = (set(values) for values in zip(*places[HEAD], *places[LEFT], strict=True))
    height, width = size or (6, 8)
    assert tops == set(range(6 + 4 - height + 1))
    assert lefts == set(range(8 + 4 - width + 1))


def test_without_room_nothing_moves():
    batch = make_batch()
    cropped = RandomCrop(pad=0)(batch, generator())
    assert all(torch.equal(cropped[key], value) for key, value in batch.items())


def test_the_draw_follows_from_the_generator_and_the_batch_is_left_alone():
    batch = make_batch()
    before = {key: value.clone() for key, value in batch.items()}
    first, again, other = (RandomCrop()(batch, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first[HEAD], again[HEAD])
    assert not torch.equal(first[HEAD], other[HEAD])
    assert first[HEAD].dtype == torch.uint8
    assert all(torch.equal(batch[key], value) for key, value in before.items())


def test_a_size_beyond_the_padded_picture_is_refused():
    with pytest.raises(ConfigError, match=r"expected at most 8 × 10 .*, got 9 × 8"):
        RandomCrop(pad=1, size=(9, 8))(make_batch(), generator())
