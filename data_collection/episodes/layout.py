"""Where HDF5 puts things: an episode's file image without copying its arrays.

HDF5 lays the file out and writes only its own metadata, into memory; the arrays then go to their
places straight from where they are. Its low-level interface takes half the time of the other, and
an episode has many keys.
"""

# h5py's low-level interface is compiled, without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5f, h5o, h5p, h5s, h5t

from data_collection.episodes.index import Extent
from data_collection.episodes.schema import batch_key, hdf5_path

_ALIGNMENT = 64
"""Arrays start on a cache line, so that a memory map of them does too."""


Pieces = list[memoryview]
"""A file's bytes, piece by piece."""


@dataclass(frozen=True)
class Rows:
    """Rows of an array, to be found in the file under a name of their own, without a copy."""

    source: str
    rows: Sequence[int]


def lay_out(
    arrays: Mapping[str, np.ndarray],
    attributes: Mapping[str, bytes],
    links: Mapping[str, Rows] | None = None,
) -> tuple[Pieces, dict[str, Extent]]:
    """Return the HDF5 file of ``arrays`` and root ``attributes``, and where the arrays lie in it.

    ``links`` become virtual data sets by key. The pieces of arrays are views of them, so these must
    not change while the pieces are in use. Equal arguments give equal bytes.
    """
    metadata = _Metadata()
    contiguous, linked = _contiguous(), _linked()
    pieces: dict[int, memoryview] = {}
    extents: dict[str, Extent] = {}
    with h5py.File(
        metadata, "w", alignment_threshold=_ALIGNMENT, alignment_interval=_ALIGNMENT
    ) as file:
        for key in sorted(arrays):
            array = np.ascontiguousarray(arrays[key])
            dataset = h5d.create(
                file.id,
                hdf5_path(key).encode(),
                h5t.py_create(array.dtype, logical=True),
                h5s.create_simple(array.shape),
                contiguous,
                linked,
            )
            offset = dataset.get_offset() or 0  # an array without rows has no place in the file
            extents[key] = Extent(offset, array.shape, array.dtype)
            if array.size:
                pieces[offset] = array.reshape(-1).view(np.uint8).data
        for key, rows in (links or {}).items():
            _link(file.id, key, rows, arrays[rows.source], linked)
        for name, value in attributes.items():
            file.attrs[name] = np.bytes_(value)
    pieces |= {at: memoryview(data) for at, data in metadata.pieces.items()}
    return _end_to_end(pieces), extents


def find_arrays(path: Path) -> dict[str, Extent]:
    """Return where the arrays of an episode file are, by batch key, sorted.

    Raises:
        OSError: It is no HDF5 file; RuntimeError and KeyError also tell of damage.
    """
    found: dict[str, Extent] = {}
    file = h5f.open(bytes(path), h5f.ACC_RDONLY)

    def visit(name: bytes) -> None:
        item = h5o.open(file, name)
        if isinstance(item, h5d.DatasetID) and not _is_virtual(item):
            extent = Extent(item.get_offset() or 0, item.shape, item.dtype)
            found[batch_key(name.decode())] = extent

    try:
        h5o.visit(file, visit)
    finally:
        file.close()
    return dict(sorted(found.items()))


def _link(file: h5f.FileID, key: str, link: Rows, source: np.ndarray, linked: h5p.PropLCID) -> None:
    """Add a data set of some rows of another one of the same file."""
    shape, row = (len(link.rows), *source.shape[1:]), (1, *source.shape[1:])
    chosen, here = h5s.create_simple(source.shape), h5s.create_simple(shape)
    chosen.select_none()
    for number in link.rows:
        start = (number, *(0 for _ in row[1:]))
        chosen.select_hyperslab(start, row, op=h5s.SELECT_OR)
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_layout(h5d.VIRTUAL)
    properties.set_virtual(here, b".", hdf5_path(link.source).encode(), chosen)
    properties.set_obj_track_times(False)
    kind = h5t.py_create(source.dtype, logical=True)
    h5d.create(file, hdf5_path(key).encode(), kind, here, properties, linked)


def _is_virtual(dataset: h5d.DatasetID) -> bool:
    return dataset.get_create_plist().get_layout() == h5d.VIRTUAL


def _contiguous() -> h5p.PropDCID:
    """Return how datasets are made: one block each, which HDF5 places but does not fill."""
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)  # creation times would make equal episodes differ
    return properties


def _linked() -> h5p.PropLCID:
    """Return how datasets are named: the groups on the way to one are made with it."""
    properties = h5p.create(h5p.LINK_CREATE)
    properties.set_create_intermediate_group(True)
    return properties


def _end_to_end(pieces: Mapping[int, memoryview]) -> Pieces:
    """Return the pieces in order, with zeros where there is none."""
    whole: Pieces = []
    end = 0
    for start, piece in sorted(pieces.items()):
        if start > end:
            whole.append(memoryview(bytes(start - end)))
        whole.append(piece)
        end = start + len(piece)
    return whole


class _Metadata(io.RawIOBase):
    """A file that HDF5 only writes to: what it wrote, by place."""

    def __init__(self) -> None:
        self.pieces: dict[int, bytes] = {}
        self._position = 0
        self._end = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        self._position = start + offset
        return self._position

    def write(self, data: memoryview) -> int:  # type: ignore[override] - h5py passes nothing else
        self.pieces[self._position] = bytes(data)
        self._position += len(data)
        self._end = max(self._end, self._position)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        self._end = self._position if size is None else size
        return self._end
