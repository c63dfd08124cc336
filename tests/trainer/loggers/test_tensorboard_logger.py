"""What TensorBoard itself reads back from the event files."""

import io

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.support.full_disk import files_end_at
from trainer.errors import UserError
from trainer.loggers.tensorboard import TensorBoardLogger
from trainer.video import write_video


def read(folder):
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    return events


def test_a_video_plays_as_an_animation(tmp_path):
    frames = [np.full((32, 48, 3), 20 * i, np.uint8) for i in range(10)]
    write_video(tmp_path / "film.mp4", frames, fps=20)
    logger = TensorBoardLogger(tmp_path, start_step=0)
    logger.log_video(6, "evaluation/episode_7", tmp_path / "film.mp4")
    logger.close()
    (event,) = read(tmp_path).Images("evaluation/episode_7")
    assert (event.step, event.width, event.height) == (6, 48, 32)
    gif = Image.open(io.BytesIO(event.encoded_image_string))
    assert (gif.format, gif.n_frames, gif.info["duration"]) == ("GIF", 10, 50)
    gif.seek(9)
    assert np.asarray(gif.convert("RGB")).mean() == pytest.approx(180, abs=4)


def test_a_resumed_run_hides_what_lies_behind_its_start(tmp_path):
    for start, steps in ((0, range(1, 5)), (2, range(3, 5))):
        logger = TensorBoardLogger(tmp_path, start_step=start)
        for step in steps:
            logger.log_scalars(step, {"loss": 10.0 * start + step})
        logger.close()
    assert [(e.step, e.value) for e in read(tmp_path).Scalars("loss")] == [
        (1, 1), (2, 2), (3, 23), (4, 24),
    ]  # fmt: skip


def test_a_picture_comes_back_as_it_was(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    logger = TensorBoardLogger(tmp_path, start_step=0)
    logger.log_image(3, "policy/expert_usage", picture)
    logger.close()
    (event,) = read(tmp_path).Images("policy/expert_usage")
    assert (event.step, event.width, event.height) == (3, 7, 5)
    shown = Image.open(io.BytesIO(event.encoded_image_string))
    np.testing.assert_array_equal(np.asarray(shown), picture)


def test_figures_that_the_disk_has_no_room_for_are_an_error_at_once(tmp_path):
    logger = TensorBoardLogger(tmp_path, start_step=0)
    with files_end_at(100), pytest.raises(UserError, match=r"cannot write .*tfevents"):
        logger.log_scalars(1, {"loss": 1.0, "learning_rate": 0.1})
