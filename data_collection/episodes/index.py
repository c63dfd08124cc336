"""The index of a sealed round: where each key of each episode lies, so that HDF5 stays shut."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Extents:
    """One key over all E episodes of a round.

    ``offsets`` (E,) are relative to each episode's own start; ``rows`` (E,) is the first
    dimension of each array, ``row_shape`` the rest, which all episodes share.
    """

    dtype: np.dtype
    row_shape: tuple[int, ...]
    rows: np.ndarray
    offsets: np.ndarray

    @property
    def row_bytes(self) -> int:
        """Return the size of one row."""
        return self.dtype.itemsize * int(np.prod(self.row_shape, dtype=np.int64))


@dataclass(frozen=True)
class Index:
    """Where everything is. Episode e is ``sizes[e]`` bytes from ``starts[e]`` of its file.

    ``files`` are relative to the round's folder, ``file_of`` (E,) indexes them; ``lengths`` (E,)
    counts steps.
    """

    files: tuple[str, ...]
    file_of: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    lengths: np.ndarray
    extents: dict[str, Extents]

    def to_bytes(self) -> bytes:
        """Return the index as the bytes of an ``.npz`` file."""
        arrays = {
            "files": np.array(self.files),
            "file_of": self.file_of,
            "starts": self.starts,
            "sizes": self.sizes,
            "lengths": self.lengths,
            "keys": np.array(list(self.extents)),
        }
        for key, extents in self.extents.items():
            arrays[f"dtype/{key}"] = np.array(extents.dtype.str)
            arrays[f"row_shape/{key}"] = np.array(extents.row_shape, dtype=np.int64)
            arrays[f"rows/{key}"] = extents.rows
            arrays[f"offsets/{key}"] = extents.offsets
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Index:
        """Return the index that ``to_bytes`` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            extents = {
                str(key): Extents(
                    np.dtype(str(arrays[f"dtype/{key}"])),
                    tuple(int(n) for n in arrays[f"row_shape/{key}"]),
                    arrays[f"rows/{key}"],
                    arrays[f"offsets/{key}"],
                )
                for key in arrays["keys"]
            }
            return cls(
                tuple(str(name) for name in arrays["files"]),
                arrays["file_of"],
                arrays["starts"],
                arrays["sizes"],
                arrays["lengths"],
                extents,
            )


@dataclass(frozen=True)
class Extent:
    """One array of one episode: byte offset from the episode's start, shape and dtype."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self, path: Path) -> np.ndarray:
        """Return the array, read from an episode file; raise ValueError when that is too short."""
        count = int(np.prod(self.shape, dtype=np.int64))
        return np.fromfile(path, self.dtype, count, offset=self.offset).reshape(self.shape)


def stack_extents(episodes: Sequence[dict[str, Extent]]) -> dict[str, Extents]:
    """Return the extents by key of episodes that all have the same keys, dtypes and row shapes."""
    return {
        key: Extents(
            first.dtype,
            first.shape[1:],
            np.array([episode[key].shape[0] for episode in episodes], dtype=np.int64),
            np.array([episode[key].offset for episode in episodes], dtype=np.int64),
        )
        for key, first in episodes[0].items()
    }
