"""TensorBoard event files in the run's folder: ``tensorboard --logdir runs``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trainer.interfaces import Logger
from trainer.registry import loggers

_LONGEST_ANIMATION = 500


@loggers.register("tensorboard")
class TensorBoardLogger(Logger):
    """Writes scalars, pictures and videos; a resumed run hides what lies behind its start."""

    def __init__(self, save_dir: Path, start_step: int) -> None:
        # Imported here: it costs a second, and only rank 0 logs.
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(save_dir / "tensorboard"), purge_step=start_step + 1)

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one scalar a name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def log_image(self, step: int, name: str, image_hwc: np.ndarray) -> None:
        """Write a picture."""
        self._writer.add_image(name, image_hwc, step, dataformats="HWC")

    def log_video(self, step: int, name: str, path: Path) -> None:
        """Write the first 500 frames of an MP4 as an animation, which the images tab plays."""
        import imageio.v3 as iio
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]

        frames = iio.imread(path)[:_LONGEST_ANIMATION]
        milliseconds = 1000 / iio.immeta(path).get("fps", 20)
        # SummaryWriter's own add_video wants another package, moviepy, for the same GIF.
        gif = iio.imwrite("<bytes>", frames, extension=".gif", duration=milliseconds, loop=0)
        height, width, colours = frames.shape[1:]
        image = Summary.Image(
            height=height, width=width, colorspace=colours, encoded_image_string=gif
        )
        summary = Summary(value=[Summary.Value(tag=name, image=image)])
        self._writer._get_file_writer().add_summary(summary, step)

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()
