"""TensorBoard event files in the run's folder: ``tensorboard --logdir runs``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trainer.interfaces import Logger
from trainer.registry import loggers


@loggers.register("tensorboard")
class TensorBoardLogger(Logger):
    """Writes scalars, pictures and videos; a resumed run hides what lies behind its start."""

    def __init__(self, save_dir: Path, start_step: int) -> None:
        # Imported here: it costs a second, and only rank 0 logs.
        from torch.utils.tensorboard import SummaryWriter

        purge = start_step + 1 if start_step else None
        self._writer = SummaryWriter(str(save_dir / "tensorboard"), purge_step=purge)

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one scalar a name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def log_image(self, step: int, name: str, image_hwc: np.ndarray) -> None:
        """Write a picture."""
        self._writer.add_image(name, image_hwc, step, dataformats="HWC")

    def log_video(self, step: int, name: str, path: Path) -> None:
        """Write the first 500 frames of an MP4 as an animation."""
        import imageio.v3 as iio

        frames = iio.imread(path)[:500]
        fps = iio.immeta(path).get("fps", 20)
        video = np.moveaxis(frames, -1, 1)[None]
        self._writer.add_video(name, video, step, fps=fps)

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()
