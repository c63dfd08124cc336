"""Rows of one key over all rounds, gathered a batch at a time from memory or from mapped files.

Shape legend: B batch, n rows of a window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from components.datasets.blocks import LARGE, BlockPool
from data_collection.episodes import EpisodeError, Extents, SealedRound
from trainer.errors import DataError
from trainer.ops import to_device


@dataclass(frozen=True)
class Part:
    """One key of one round; its rows are those of all episodes end to end."""

    sealed: SealedRound
    key: str

    @property
    def extents(self) -> Extents:
        """Return where the key lies in each episode."""
        return self.sealed.extents(self.key)


@dataclass(frozen=True)
class Rows:
    """The rows of several parts end to end, each of ``shape``.

    ``shape`` may be shorter than what one recorded row has: a label chunk (L, H, A) counts as
    L·H rows of shape (A,).
    """

    parts: tuple[Part, ...]
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        first = self.parts[0]
        for part in self.parts:
            if part.extents.dtype != self.dtype:
                raise DataError(
                    f"{part.sealed.folder}: {part.key} is {part.extents.dtype}, but {first.key} "
                    f"is {self.dtype} in {first.sealed.folder}; use rounds recorded alike"
                )

    @property
    def dtype(self) -> np.dtype:
        """Return the dtype of every row."""
        return self.parts[0].extents.dtype

    @property
    def nbytes(self) -> int:
        """Return the size of all rows."""
        return sum(int(p.extents.rows.sum()) * p.extents.row_bytes for p in self.parts)

    def rows_of_episodes(self, part: Part) -> np.ndarray:
        """Return (E,) how many rows of ``shape`` each episode of a part has."""
        extents = part.extents
        return extents.rows * (prod(extents.row_shape) // prod(self.shape))

    def load(self) -> Tensor:
        """Return all rows in memory, uint16 as int16; raise DataError when a file is damaged."""
        row_bytes = self.dtype.itemsize * prod(self.shape)
        flat = np.empty((self.nbytes // row_bytes, *self.shape), self.dtype)
        start = 0
        for part in self.parts:
            stop = start + int(self.rows_of_episodes(part).sum())
            try:
                part.sealed.read_rows_into(part.key, flat[start:stop])
            except EpisodeError as error:
                raise DataError(str(error)) from error
            start = stop
        if flat.dtype == np.uint16:  # of which torch gathers signed ones alone on every device
            flat = flat.view(np.int16)
        return torch.from_numpy(flat)


class RowSource(ABC):
    """Where rows are gathered from."""

    @abstractmethod
    def gather(self, rows_bn: np.ndarray) -> Tensor:
        """Return (B, n, …) the rows with these numbers; one window's rows are of one episode."""

    def to(self, device: torch.device) -> RowSource:
        """Return the same rows on a device, where they can be there."""
        return self


class StoredRows(RowSource):
    """Rows as they were recorded."""

    @abstractmethod
    def run(self, start: int, stop: int) -> np.ndarray:
        """Return the rows from ``start`` to ``stop``, all of one episode, without copying them."""


class ResidentRows(StoredRows):
    """Rows in memory, on the CPU or on a device.

    Args:
        flat: All rows.
        blocks: Memory for large batches.
    """

    def __init__(self, flat: Tensor, blocks: BlockPool) -> None:
        self._flat = flat
        self._blocks = blocks
        # Asking a tensor for these costs as much as gathering a small batch.
        self._array = flat.numpy() if flat.device.type == "cpu" else None
        self._row_bytes = prod(flat.shape[1:]) * flat.itemsize

    def __reduce__(self) -> tuple[type[ResidentRows], tuple[Tensor, BlockPool]]:
        return ResidentRows, (self._flat, self._blocks)

    def to(self, device: torch.device) -> ResidentRows:
        """Return the same rows on a device."""
        return ResidentRows(self._flat.to(device), self._blocks)

    def gather(self, rows_bn: np.ndarray) -> Tensor:
        """Return the rows, where they are resident."""
        flat, array = self._flat, self._array
        if array is not None and rows_bn.size * self._row_bytes < LARGE:
            # Rows are in range by construction; "clip" spares numpy a buffered copy.
            return torch.from_numpy(array.take(rows_bn, axis=0, mode="clip"))
        shape = (*rows_bn.shape, *flat.shape[1:])
        rows = to_device(torch.from_numpy(rows_bn), flat.device).view(-1)
        if array is None:
            return flat.index_select(0, rows).view(shape)
        out = self._blocks.empty(shape, flat.dtype)
        torch.index_select(flat, 0, rows, out=out.view(-1, *flat.shape[1:]))
        return out

    def run(self, start: int, stop: int) -> np.ndarray:
        """Return a view of rows on the CPU."""
        return self._flat[start:stop].numpy()


class FileMaps:
    """Memory maps of files, made on first use in each process and never pickled."""

    def __init__(self) -> None:
        self._bytes: dict[Path, np.ndarray] = {}

    def __getstate__(self) -> dict[str, object]:
        return {"_bytes": {}}

    def bytes_of(self, path: Path) -> np.ndarray:
        """Return the bytes of a file, mapped; raise DataError when that is impossible."""
        mapped = self._bytes.get(path)
        if mapped is None:
            try:
                # Unlike numpy's, torch's maps keep no file descriptor, so thousands can be open.
                mapped = torch.from_file(
                    str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8
                ).numpy()
            except (OSError, RuntimeError) as error:
                raise DataError(
                    f"{path}: cannot be memory-mapped: {error}; with more than some 60,000 "
                    "episode files pack the round (data_collection.episodes.pack)"
                ) from error
            self._bytes[path] = mapped
        return mapped


class MappedRows(StoredRows):
    """Rows in files which are mapped as they are needed; the page cache is the only memory."""

    def __init__(self, rows: Rows, maps: FileMaps, blocks: BlockPool) -> None:
        self._rows = rows
        self._maps = maps
        self._blocks = blocks
        self._dtype = torch.from_numpy(np.empty(0, rows.dtype)).dtype
        counts = [rows.rows_of_episodes(part) for part in rows.parts]
        self._counts = np.concatenate(counts)
        self._starts = np.cumsum(self._counts) - self._counts
        self._first_segments = np.cumsum([0, *map(len, counts)])
        self._views: dict[int, np.ndarray] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_views": {}}

    def gather(self, rows_bn: np.ndarray) -> Tensor:
        """Return the rows on the CPU."""
        out = self._blocks.empty((*rows_bn.shape, *self._rows.shape), self._dtype)
        segments = self._segments(rows_bn[:, 0])
        local = rows_bn - self._starts[segments, None]
        for target, segment, rows in zip(out.numpy(), segments.tolist(), local, strict=True):
            self._view(segment).take(rows, axis=0, out=target, mode="clip")
        return out

    def run(self, start: int, stop: int) -> np.ndarray:
        """Return a view of the mapped file."""
        segment = int(self._segments(start))
        first = int(self._starts[segment])
        return self._view(segment)[start - first : stop - first]

    def _segments(self, rows: np.ndarray | int) -> np.ndarray:
        """Return which episode, of all parts, each row lies in."""
        return np.searchsorted(self._starts, rows, side="right") - 1

    def _view(self, segment: int) -> np.ndarray:
        view = self._views.get(segment)
        if view is None:
            view = self._views[segment] = self._open(segment)
        return view

    def _open(self, segment: int) -> np.ndarray:
        number = int(np.searchsorted(self._first_segments, segment, side="right")) - 1
        part = self._rows.parts[number]
        sealed, episode = part.sealed, segment - int(self._first_segments[number])
        data = self._maps.bytes_of(sealed.file(episode))
        start = int(sealed.index.starts[episode] + part.extents.offsets[episode])
        shape = (int(self._counts[segment]), *self._rows.shape)
        stop = start + prod(shape) * self._rows.dtype.itemsize
        return data[start:stop].view(self._rows.dtype).reshape(shape)


def open_sources(
    rows: dict[str, Rows], blocks: BlockPool, *, resident: bool
) -> dict[str, StoredRows]:
    """Return a source by key: resident in CPU memory, or mapped."""
    if resident:
        return {key: ResidentRows(value.load(), blocks) for key, value in rows.items()}
    maps = FileMaps()
    return {key: MappedRows(value, maps, blocks) for key, value in rows.items()}


def parts_of(rounds: Sequence[SealedRound], key: str) -> tuple[Part, ...]:
    """Return the parts of those rounds that have ``key``."""
    return tuple(Part(sealed, key) for sealed in rounds if key in sealed.keys)
