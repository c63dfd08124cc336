import numpy as np
import pytest

from data_collection.cluster.pictures import (
    pack_pictures,
    pack_scenes,
    unpack_pictures,
    unpack_scenes,
)
from data_collection.rendering.generators import Prompt, Scene
from trainer.errors import DataError


def test_scenes_and_pictures_arrive_bit_by_bit():
    random = np.random.default_rng(0)
    scenes = [
        Scene(
            random.random((4, 6), dtype=np.float32),
            random.integers(0, 9, (4, 6)).astype(dtype)[:, ::1],
            Prompt(f"rot {i}", "grün"),
            2**63 - 1 - i,
        )
        for i, dtype in enumerate((np.int64, np.int32, np.int16))
    ]
    for sent, arrived in zip(scenes, unpack_scenes(pack_scenes(scenes)), strict=True):
        assert np.array_equal(sent.depth_hw, arrived.depth_hw)
        assert np.array_equal(sent.mask_hw, arrived.mask_hw)
        assert sent.mask_hw.dtype == arrived.mask_hw.dtype
        assert (sent.prompt, sent.seed) == (arrived.prompt, arrived.seed)
    pictures = [random.integers(0, 256, (4, 6 + i, 3), dtype=np.uint8) for i in range(11)]
    arrived = unpack_pictures(pack_pictures([p[::-1] for p in pictures]))
    assert all(np.array_equal(p[::-1], a) for p, a in zip(pictures, arrived, strict=True))


@pytest.mark.parametrize("data", [b"", b"no safetensors", pack_pictures([])])
def test_other_bytes_are_refused(data):
    with pytest.raises(DataError, match="does not understand a request"):
        unpack_scenes(data)
