"""A contact sheet: one row an episode, a few of its frames under a caption."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_collection.rendering.tiling import tile

_FONT_PIXELS = 12
_CAPTION_PIXELS = 16
_BRIGHTNESS = 220


@dataclass(frozen=True)
class SheetRow:
    """One episode of a contact sheet."""

    caption: str
    """Such as its id and its outcome."""
    frames: Sequence[np.ndarray] | np.ndarray
    """All frames of the episode, (T, H, W, 3) uint8; only those shown are read."""


def contact_sheet(rows: Sequence[SheetRow], columns: int = 8) -> np.ndarray:
    """Return the sheet (H, W, 3) uint8: ``columns`` evenly spaced frames a row, first and last too.

    An episode with fewer frames shows each of them once.

    Raises:
        ValueError: there are no rows, or a row has no frames.
    """
    return tile([_row(row, columns) for row in rows], columns=1)


def write_png(path: Path, picture_hwc: np.ndarray) -> None:
    """Write a picture (H, W, 3) uint8; the file appears under its name when it is whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        Image.fromarray(picture_hwc).save(temporary, format="png")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _row(row: SheetRow, columns: int) -> np.ndarray:
    shown = np.linspace(0, len(row.frames) - 1, min(columns, len(row.frames))).round().astype(int)
    frames = tile([np.asarray(row.frames[step]) for step in shown], columns)
    return np.concatenate([caption(row.caption, frames.shape[1]), frames])


def caption(text: str, width: int) -> np.ndarray:
    """Return the text in grey on a black strip (h, ``width``, 3), cut at the right edge."""
    strip = Image.new("RGB", (width, _CAPTION_PIXELS))
    font = ImageFont.load_default(_FONT_PIXELS)
    ImageDraw.Draw(strip).text((2, 1), text, (_BRIGHTNESS,) * 3, font)
    return np.asarray(strip)
