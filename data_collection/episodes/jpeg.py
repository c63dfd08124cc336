"""JPEG frames of an episode: their bytes end to end, and where each of them begins.

Shape legend: T steps, n bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import simplejpeg


def encode_frame(frame_chw: np.ndarray, quality: int) -> bytes:
    """Return a picture (3, H, W) uint8 as JPEG; ``quality`` is 1 to 100."""
    frame_hwc = np.ascontiguousarray(frame_chw.transpose(1, 2, 0))
    return simplejpeg.encode_jpeg(frame_hwc, quality)


def decode_frame(data: bytes | np.ndarray) -> np.ndarray:
    """Return the picture (H, W, 3) uint8; raise ValueError when the JPEG is not whole."""
    return simplejpeg.decode_jpeg(data)


def frame_shape(data: bytes | np.ndarray) -> tuple[int, int, int]:
    """Return (3, H, W) without decoding; raise ValueError when the JPEG has no whole header."""
    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    return 3, int(height), int(width)


def join_frames(frames: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes (n,) uint8 of all frames and the offsets (T+1,) int64 of each frame."""
    data = np.frombuffer(b"".join(frames), dtype=np.uint8)
    return data, np.cumsum([0, *map(len, frames)], dtype=np.int64)
