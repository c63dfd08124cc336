import imageio.v2 as imageio
import numpy as np
import pytest

from data_collection.importing.video_frames import frame_times, nearest_frames, read_frames
from trainer.errors import DataError

FRAMES = 60


def numbered(number):
    """Return a picture (32, 48, 3) whose bright and dark fields are the bits of its number."""
    bits = (number >> np.arange(6) & 1).reshape(2, 3, 1) * np.full(3, 255)
    return bits.repeat(16, 0).repeat(16, 1).astype(np.uint8)


def number_of(picture):
    bits = picture[8::16, 8::16, 1].reshape(-1) > 127
    return int((bits << np.arange(6)).sum())


@pytest.fixture(params=["2", "250"])  # frames between those that stand on their own
def video(request, tmp_path):
    path = tmp_path / "clip.mp4"
    with imageio.get_writer(
        path, fps=30, codec="libx264", pixelformat="yuv420p", macro_block_size=1,
        output_params=["-g", request.param],
    ) as writer:  # fmt: skip
        for number in range(FRAMES):
            writer.append_data(numbered(number))
    return path


def test_frames_are_the_ones_that_were_chosen(video):
    times_s = frame_times(video)
    np.testing.assert_allclose(times_s, np.arange(FRAMES) / 30, atol=1e-6)
    for chosen in ([*range(FRAMES)], [17, 18, 19], [5, 5, 8, 41], [59]):
        pictures = read_frames(video, times_s, np.array(chosen))
        assert [number_of(picture) for picture in pictures] == chosen


def test_nearest_is_measured_to_both_sides():
    shown_s, wanted_s = np.array([0.0, 0.1, 0.4]), np.array([-1.0, 0.04, 0.06, 0.24, 0.26, 9.0])
    assert nearest_frames(shown_s, wanted_s).tolist() == [0, 0, 1, 1, 2, 2]
    assert nearest_frames(shown_s[:1], wanted_s).tolist() == [0] * 6


def test_what_is_no_video_is_refused_in_one_line(video, tmp_path):
    with pytest.raises(DataError, match=r"none.mp4 is not there"):
        frame_times(tmp_path / "none.mp4")
    times_s = np.append(frame_times(video), 2.0)
    with pytest.raises(DataError, match="frame 60 cannot be decoded"):
        list(read_frames(video, times_s, np.array([59, 60])))
    video.write_bytes(video.read_bytes()[:300])
    with pytest.raises(DataError, match="cannot be read as a video") as caught:
        frame_times(video)
    assert "\n" not in str(caught.value)
