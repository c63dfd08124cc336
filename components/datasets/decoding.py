"""From recorded rows to what a batch holds: JPEG becomes pixels, depth becomes metres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from components.datasets.blocks import BlockPool
from components.datasets.row_sources import Part, RowSource, StoredRows
from data_collection.episodes.jpeg import decode_frame
from data_collection.episodes.schema import JPEG_DATA, JPEG_OFFSETS
from trainer.errors import DataError
from trainer.ops import to_device

_MILLIMETRES = 1000.0


class JpegFrames(RowSource):
    """JPEG frames, decoded as they are gathered; always on the CPU, then moved.

    Decoding holds Python's lock: it is data-loader workers, not threads, that make it faster.

    Args:
        data: The bytes of all frames end to end, a byte a row.
        parts: What ``data`` was made of: a round each.
        shape: (3, H, W) of every frame.
        blocks: Memory for large batches.
    """

    def __init__(
        self, data: StoredRows, parts: Sequence[Part], shape: tuple[int, ...], blocks: BlockPool
    ) -> None:
        self._data = data
        self._parts = parts
        self._shape = shape
        self._blocks = blocks
        self._starts, self._stops = _frame_ends(parts)
        self._device = torch.device("cpu")

    def to(self, device: torch.device) -> JpegFrames:
        """Return these frames; what is gathered from now on is moved to ``device``."""
        self._device = device
        return self

    def gather(self, rows_bn: np.ndarray) -> Tensor:
        """Return the frames (B, n, 3, H, W) uint8; raise DataError naming file and frame."""
        out = self._blocks.empty((*rows_bn.shape, *self._shape), torch.uint8)
        frames = out.view(-1, *self._shape).numpy()
        for target, row in zip(frames, rows_bn.reshape(-1).tolist(), strict=True):
            data = self._data.run(int(self._starts[row]), int(self._stops[row]))
            try:
                target[...] = decode_frame(data).transpose(2, 0, 1)
            except ValueError as error:  # another size does not fit either
                raise DataError(f"{self._place(row)} is not a whole JPEG: {error}") from error
        return to_device(out, self._device)

    def _place(self, row: int) -> str:
        """Return the file and the frame of a row, for messages."""
        for part in self._parts:
            lengths = part.sealed.lengths
            if row < lengths.sum():
                episode = int(np.searchsorted(np.cumsum(lengths), row, side="right"))
                step = row - int(lengths[:episode].sum())
                return part.sealed.place(part.key.removesuffix(JPEG_DATA), episode, step)
            row -= int(lengths.sum())
        raise IndexError(row)


class DepthInMetres(RowSource):
    """Recorded depth as float32 metres."""

    def __init__(self, recorded: RowSource) -> None:
        self._recorded = recorded

    def to(self, device: torch.device) -> DepthInMetres:
        """Return the same rows on a device."""
        return DepthInMetres(self._recorded.to(device))

    def gather(self, rows_bn: np.ndarray) -> Tensor:
        """Return the depth (B, n, 1, H, W)."""
        rows = self._recorded.gather(rows_bn)
        if rows.is_floating_point():
            return rows.float()
        unsigned = rows.view(torch.int16).int() & 0xFFFF
        return unsigned.float().div_(_MILLIMETRES)


def _frame_ends(parts: Sequence[Part]) -> tuple[np.ndarray, np.ndarray]:
    """Return (frames,) where each frame starts in the bytes of all parts, and where it stops."""
    starts: list[np.ndarray] = []
    stops: list[np.ndarray] = []
    base = 0
    for part in parts:
        sizes = part.extents.rows
        key = part.key.removesuffix(JPEG_DATA) + JPEG_OFFSETS
        counts = part.sealed.extents(key).rows
        first_bytes = base + np.cumsum(sizes) - sizes
        ends = part.sealed.read_rows(key) + np.repeat(first_bytes, counts)
        last = np.cumsum(counts) - 1
        starts.append(np.delete(ends, last))
        stops.append(np.delete(ends, last - counts + 1))
        base += int(sizes.sum())
    return np.concatenate(starts), np.concatenate(stops)
