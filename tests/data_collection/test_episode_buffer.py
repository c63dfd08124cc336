import numpy as np
import pytest

from data_collection.episode_buffer import EpisodeBuffer
from data_collection.episodes.jpeg import decode_frame
from data_collection.recording import RecordingConfig
from trainer.environment import STATE, StepResult

HEAD = "observation.images.head"


def test_a_buffer_keeps_one_row_a_step():
    buffer = EpisodeBuffer()
    first, second = (
        StepResult({}, reward=1.5, terminated=False, truncated=False, success=False),
        StepResult({}, reward=-2.0, terminated=True, truncated=False, success=False),
    )
    buffer.add({STATE: np.float32([1, 2])}, np.array([0.5]), np.array([0.7]), 0, first)
    buffer.add({STATE: np.float32([3, 4])}, None, np.array([0.9]), 1, second)
    arrays = buffer.arrays()
    assert {key: array.tolist() for key, array in arrays.items()} == {
        STATE: [[1, 2], [3, 4]],
        "action": [[0.5], [0]],
        "action_valid": [True, False],
        "executed_action": [[pytest.approx(0.7)], [pytest.approx(0.9)]],
        "actor": [0, 1],
        "reward": [1.5, -2],
        "terminated": [False, True],
        "truncated": [False, False],
    }


def test_a_buffer_grows():
    buffer = EpisodeBuffer()
    for t in range(1000):
        result = StepResult({}, reward=t, terminated=False, truncated=False, success=False)
        buffer.add({STATE: np.float32([t, -t])}, np.float32([t]), np.float32([0]), 0, result)
    arrays = buffer.arrays()
    np.testing.assert_array_equal(arrays[STATE], np.float32([[t, -t] for t in range(1000)]))
    np.testing.assert_array_equal(arrays["action"][:, 0], np.arange(1000))


def test_jpeg_frames_become_bytes_with_offsets():
    buffer = EpisodeBuffer(RecordingConfig(images="jpeg", jpeg_quality=95))
    result = StepResult({}, reward=0.0, terminated=False, truncated=False, success=False)
    for value in (10, 77, 200):
        observation = {HEAD: np.full((3, 8, 16), value, dtype=np.uint8)}
        buffer.add(observation, None, np.float32([0]), 0, result)
    arrays = buffer.arrays()
    assert HEAD not in arrays
    data, offsets = arrays[HEAD + ".data"], arrays[HEAD + ".offsets"]
    assert len(offsets) == 4
    np.testing.assert_array_equal(
        decode_frame(data[offsets[1] : offsets[2]]), np.full((8, 16, 3), 77)
    )
