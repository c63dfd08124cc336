"""MP4 files from frames."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import imageio.v2 as imageio
import numpy as np


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write frames (H, W, 3) uint8 as H.264; the file appears under its name when it is whole.

    Odd heights and widths lose their last row or column: the codec's colour planes are halved.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.mp4")
    try:
        with imageio.get_writer(
            temporary, fps=fps, codec="libx264", pixelformat="yuv420p", macro_block_size=1
        ) as writer:
            for frame in frames:
                height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
                writer.append_data(np.ascontiguousarray(frame[:height, :width]))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
