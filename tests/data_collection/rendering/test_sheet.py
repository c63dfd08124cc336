import numpy as np
import pytest
from PIL import Image

from data_collection.rendering.sheet import SheetRow, contact_sheet, write_png

CAPTION = 16
GAP = 2


def clip(first, steps, height=20, width=30):
    frames = np.empty((steps, height, width, 3), np.uint8)
    frames[:] = np.arange(first, first + steps, dtype=np.uint8)[:, None, None, None]
    return frames


def cells(sheet, row, columns):
    top = row * (CAPTION + 20 + GAP) + CAPTION
    return [sheet[top + 10, column * 32 + 15, 0] for column in range(columns)]


def test_a_row_shows_evenly_spaced_frames_from_first_to_last():
    rows = [SheetRow("rollout_000 success", clip(100, 31)), SheetRow("x", list(clip(200, 2)))]
    sheet = contact_sheet(rows, columns=4)
    assert sheet.shape == (2 * (CAPTION + 20) + GAP, 4 * 30 + 3 * GAP, 3)
    assert cells(sheet, 0, 4) == [100, 110, 120, 130]
    assert cells(sheet, 1, 4) == [200, 201, 0, 0]


def test_captions_are_legible_and_differ():
    success, failure, blank = (
        contact_sheet([SheetRow(caption, clip(0, 9))], columns=9)[:CAPTION]
        for caption in ("rollout_001 success", "rollout_001 failure", "")
    )
    assert success.max() > 150
    assert (success != failure).any()
    assert blank.max() == 0


def test_only_the_frames_shown_are_read():
    read = []

    class Frames(list):
        def __getitem__(self, index):
            read.append(int(index))
            return super().__getitem__(index)

    contact_sheet([SheetRow("x", Frames(clip(0, 100)))], columns=3)
    assert read == [0, 50, 99]


def test_a_picture_survives_the_file(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)
    write_png(tmp_path / "sheet.png", picture)
    with Image.open(tmp_path / "sheet.png") as image:
        np.testing.assert_array_equal(np.asarray(image), picture)


def test_a_picture_that_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "sheet.png"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        write_png(path, np.zeros((2, 2, 7), np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]
    assert path.read_bytes() == b"old"
