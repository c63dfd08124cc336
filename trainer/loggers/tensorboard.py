"""TensorBoard event files in the run's folder: ``tensorboard --logdir runs``."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trainer.files import writing
from trainer.interfaces import Logger
from trainer.registry import loggers

_LONGEST_ANIMATION = 500


@loggers.register("tensorboard")
class TensorBoardLogger(Logger):
    """Writes scalars, pictures and videos; a resumed run hides what lies behind its start.

    Not through torch's SummaryWriter: that writes in a thread, whose errors come as tracebacks,
    or, while it is being closed, not at all.
    """

    def __init__(self, save_dir: Path, start_step: int | None) -> None:
        # Imported here: it costs half a second, and only rank 0 logs.
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._Event, self._Summary = Event, Summary
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._path = save_dir / "tensorboard" / name
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("xb")
        self._records = RecordWriter(self._file)
        self._write(0, file_version="brain.Event:2")
        if start_step is not None:  # hides what older files have from this step on
            self._write(start_step + 1, session_log=SessionLog(status=SessionLog.START))

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one scalar a name, all in one event: an event each takes eight times as long."""
        scalars = [self._Summary.Value(tag=n, simple_value=v) for n, v in values.items()]
        self._write(step, summary=self._Summary(value=scalars))

    def log_image(self, step: int, name: str, image_hwc: np.ndarray) -> None:
        """Write a picture."""
        import imageio.v3 as iio

        png = iio.imwrite("<bytes>", image_hwc, extension=".png")
        self._write_image(step, name, png, image_hwc.shape)

    def log_video(self, step: int, name: str, path: Path) -> None:
        """Write the first 500 frames of an MP4 as an animation, which the images tab plays."""
        import imageio.v3 as iio

        frames = iio.imread(path)[:_LONGEST_ANIMATION]
        milliseconds = 1000 / iio.immeta(path).get("fps", 20)
        gif = iio.imwrite("<bytes>", frames, extension=".gif", duration=milliseconds, loop=0)
        self._write_image(step, name, gif, frames.shape[1:])

    def close(self) -> None:
        """Close the event file."""
        with writing(self._path):
            self._file.close()

    def _write_image(self, step: int, name: str, encoded: bytes, shape: tuple[int, ...]) -> None:
        height, width, colours = shape
        image = self._Summary.Image(
            height=height, width=width, colorspace=colours, encoded_image_string=encoded
        )
        self._write(step, summary=self._Summary(value=[self._Summary.Value(tag=name, image=image)]))

    def _write(self, step: int, **content: object) -> None:
        event = self._Event(step=step, wall_time=time.time(), **content)
        with writing(self._path):
            self._records.write(event.SerializeToString())
            self._records.flush()
