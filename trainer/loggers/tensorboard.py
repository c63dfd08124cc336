"""TensorBoard event files in the run's folder: ``tensorboard --logdir runs``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.interfaces import Logger
from trainer.registry import loggers

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]

_LONGEST_ANIMATION = 500


@loggers.register("tensorboard")
class TensorBoardLogger(Logger):
    """Writes scalars, pictures and videos; a resumed run hides what lies behind its start."""

    def __init__(self, save_dir: Path, start_step: int | None) -> None:
        # Imported here: it costs a second, and only rank 0 logs.
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
        from torch.utils.tensorboard import SummaryWriter

        self._Summary = Summary
        hidden_from = None if start_step is None else start_step + 1
        self._writer = SummaryWriter(str(save_dir / "tensorboard"), purge_step=hidden_from)

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one scalar a name, all in one event: an event each takes eight times as long."""
        self._write(step, [self._Summary.Value(tag=n, simple_value=v) for n, v in values.items()])

    def log_image(self, step: int, name: str, image_hwc: np.ndarray) -> None:
        """Write a picture."""
        self._writer.add_image(name, image_hwc, step, dataformats="HWC")

    def log_video(self, step: int, name: str, path: Path) -> None:
        """Write the first 500 frames of an MP4 as an animation, which the images tab plays."""
        import imageio.v3 as iio

        frames = iio.imread(path)[:_LONGEST_ANIMATION]
        milliseconds = 1000 / iio.immeta(path).get("fps", 20)
        # SummaryWriter's own add_video wants another package, moviepy, for the same GIF.
        gif = iio.imwrite("<bytes>", frames, extension=".gif", duration=milliseconds, loop=0)
        height, width, colours = frames.shape[1:]
        image = self._Summary.Image(
            height=height, width=width, colorspace=colours, encoded_image_string=gif
        )
        self._write(step, [self._Summary.Value(tag=name, image=image)])

    def _write(self, step: int, values: list[Summary.Value]) -> None:
        self._writer._get_file_writer().add_summary(self._Summary(value=values), step)

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()
