"""Several pictures in one: cameras or episodes side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np


def tile(frames: Sequence[np.ndarray], columns: int | None = None, gap: int = 2) -> np.ndarray:
    """Return one picture (H, W, 3) uint8 with the frames (h, w, 3) in a grid, row by row.

    Every cell has the size of the largest frame; what a smaller one leaves is black, and so is the
    ``gap`` in pixels between cells. Without ``columns`` the grid is about square.

    Raises:
        ValueError: there are no frames.
    """
    if not frames:
        raise ValueError("expected at least one frame to tile, got none")
    columns = columns or math.ceil(math.sqrt(len(frames)))
    rows = math.ceil(len(frames) / columns)
    height = max(frame.shape[0] for frame in frames) + gap
    width = max(frame.shape[1] for frame in frames) + gap
    grid = np.zeros((rows * height - gap, columns * width - gap, 3), np.uint8)
    for index, frame in enumerate(frames):
        top, left = index // columns * height, index % columns * width
        grid[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    return grid


def tile_clips(
    clips: Sequence[Sequence[np.ndarray] | np.ndarray], columns: int | None = None
) -> Iterator[np.ndarray]:
    """Yield one tiled picture a step; a clip (T, h, w, 3) that has ended holds its last frame."""
    for step in range(max(map(len, clips))):
        yield tile([clip[min(step, len(clip) - 1)] for clip in clips], columns)
