import numpy as np
import pytest

from data_collection.rendering.tiling import tile, tile_clips


def frame(value, height=2, width=3):
    return np.full((height, width, 3), value, np.uint8)


def test_frames_fill_a_grid_row_by_row():
    grid = tile([frame(1), frame(2), frame(3, 1, 2)], columns=2, gap=1)
    expected = [
        [1, 1, 1, 0, 2, 2, 2],
        [1, 1, 1, 0, 2, 2, 2],
        [0, 0, 0, 0, 0, 0, 0],
        [3, 3, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    for channel in range(3):
        np.testing.assert_array_equal(grid[..., channel], expected)
    assert grid.dtype == np.uint8


@pytest.mark.parametrize(("count", "shape"), [(1, (2, 3)), (4, (4, 6)), (5, (4, 9)), (10, (6, 12))])
def test_a_grid_is_about_square(count, shape):
    assert tile([frame(9)] * count, gap=0).shape == (*shape, 3)


def test_a_clip_that_has_ended_holds_its_last_frame():
    short, long = [frame(1), frame(2)], np.stack([frame(5), frame(6), frame(7)])
    steps = list(tile_clips([short, long], columns=2))
    assert [(s[0, 0, 0], s[0, -1, 0]) for s in steps] == [(1, 5), (2, 6), (2, 7)]


def test_tiling_nothing_is_an_error():
    with pytest.raises(ValueError, match="at least one frame"):
        tile([])
