import imageio.v2 as imageio
import numpy as np
import pytest

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
