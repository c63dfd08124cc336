import imageio.v2 as imageio
import numpy as np
import pytest

from tests.support.full_disk import files_end_at
from trainer.errors import UserError
from trainer.video import write_video


def test_the_frames_play_in_order_at_the_given_rate(tmp_path):
    levels = [20, 90, 160, 230]
    path = tmp_path / "clip.mp4"
    write_video(path, (np.full((32, 48, 3), level, np.uint8) for level in levels), fps=4)
    with imageio.get_reader(path) as reader:
        assert reader.get_meta_data()["fps"] == 4
        shown = [frame.mean() for frame in reader]
    np.testing.assert_allclose(shown, levels, atol=4)


def test_odd_sizes_lose_their_last_row_and_column(tmp_path):
    path = tmp_path / "odd.mp4"
    write_video(path, [np.zeros((33, 47, 3), np.uint8)] * 2, fps=10)
    with imageio.get_reader(path) as reader:
        assert reader.get_meta_data()["size"] == (46, 32)


def test_no_frames_are_an_error_and_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"empty\.mp4: expected at least one frame"):
        write_video(tmp_path / "empty.mp4", iter([]), fps=10)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_source_leaves_the_old_video(tmp_path):
    def frames():
        yield np.zeros((16, 16, 3), np.uint8)
        raise RuntimeError("the renderer died")

    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="renderer died"):
        write_video(path, frames(), fps=10)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("frames", [20, 500])  # ffmpeg breaks off at the end, or while frames come
def test_a_video_that_the_disk_has_no_room_for_is_named_and_the_old_one_stays(tmp_path, frames):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with files_end_at(3000), pytest.raises(UserError, match=f"cannot write {path}: ffmpeg broke"):
        write_video(path, (np.roll(noise, i, axis=0) for i in range(frames)), fps=10)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]
