import numpy as np
import pytest
from pydantic import ValidationError

from data_collection.recording import RecordingConfig
from trainer.errors import DataError

HEAD, DEPTH = "observation.images.head", "observation.depth.head"
SEGMENTATION = "observation.segmentation.head"


def observation(depth=(0.5, 1.2346), ids=(3, -1)):
    return {
        "observation.state": np.float32([1, 2]),
        HEAD: np.full((3, 8, 16), 77, np.uint8),
        DEPTH: np.float32(depth).reshape(1, 1, 2),
        SEGMENTATION: np.int32(ids).reshape(2, 1, 1),
    }


def test_by_default_pictures_are_raw_and_depth_takes_half_the_bytes():
    kept = RecordingConfig().keep(observation())
    assert kept.keys() == observation().keys()
    assert kept[HEAD].dtype == np.uint8
    assert kept[DEPTH].dtype == np.float16
    np.testing.assert_allclose(kept[DEPTH].ravel(), [0.5, 1.2346], rtol=1e-3)
    assert (kept[SEGMENTATION].dtype, kept[SEGMENTATION].ravel().tolist()) == (np.int16, [3, -1])


def test_depth_in_whole_millimetres_ends_at_65_metres():
    kept = RecordingConfig(depth="millimetres").keep(observation(depth=(1.2346, 70.0)))
    assert (kept[DEPTH].dtype, kept[DEPTH].ravel().tolist()) == (np.uint16, [1235, 65535])


def test_depth_beyond_half_precision_stays_finite():
    kept = RecordingConfig().keep(observation(depth=(1.0, 1e6)))
    assert kept[DEPTH].ravel().tolist() == [1.0, 65504.0]


def test_float32_depth_is_kept_to_the_bit():
    kept = RecordingConfig(depth="float32").keep(observation())
    np.testing.assert_array_equal(kept[DEPTH], observation()[DEPTH])


def test_what_is_not_wanted_is_left_out():
    kept = RecordingConfig(depth="none", segmentation="none").keep(observation())
    assert kept.keys() == {"observation.state", HEAD}


def test_segmentation_that_does_not_fit_is_refused():
    with pytest.raises(DataError, match=r"segmentation\.head: ids from 1 to 40000 do not fit"):
        RecordingConfig().keep(observation(ids=(40000, 1)))


@pytest.mark.parametrize("wrong", [{"images": "png"}, {"jpeg_quality": 0}, {"depth": "feet"}])
def test_unknown_ways_of_recording_are_refused(wrong):
    with pytest.raises(ValidationError):
        RecordingConfig(**wrong)
