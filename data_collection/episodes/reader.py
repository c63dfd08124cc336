"""Reads sealed rounds: one JSON and one npz file to open, then plain bytes at known places."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from data_collection.episodes.codec import decode, read_bytes
from data_collection.episodes.feature_statistics import Statistics
from data_collection.episodes.index import Extents, Index
from data_collection.episodes.manifest import MANIFEST, EpisodeRecord, read_manifest
from data_collection.episodes.round_writer import CONFIG
from data_collection.episodes.schema import (
    FORMAT_VERSION,
    IMAGE_PREFIX,
    JPEG_DATA,
    JPEG_OFFSETS,
    EpisodeError,
)
from data_collection.episodes.seal import STATISTICS
from data_collection.episodes.writer import ROUND_FILE

_ROUND_NAME = re.compile(r"round_\d+")
_COLLECTED = re.compile(r"^teacher:", re.MULTILINE)
"""What every configuration of ``collect`` has, and an imported round has not."""


@dataclass(frozen=True)
class SealedRound:
    """A sealed round. Episodes are numbered in the order of ``ids``, which is sorted.

    It holds no open file and no map, so it may be copied, pickled and forked at will.
    """

    folder: Path
    ids: tuple[str, ...]
    index: Index

    @property
    def lengths(self) -> np.ndarray:
        """Return the number of steps of each episode, (E,) int64."""
        return self.index.lengths

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the recorded keys, sorted."""
        return tuple(self.index.extents)

    def cameras(self, prefix: str = IMAGE_PREFIX) -> list[str]:
        """Return the cameras whose pictures (or depth, by its prefix) were recorded, sorted."""
        plain = (key.removesuffix(JPEG_DATA).removesuffix(JPEG_OFFSETS) for key in self.keys)
        return sorted({key.removeprefix(prefix) for key in plain if key.startswith(prefix)})

    def extents(self, key: str) -> Extents:
        """Return where ``key`` lies in every episode; raise EpisodeError when not recorded."""
        if key not in self.index.extents:
            raise EpisodeError(
                f"{self.folder}: {key} was not recorded; recorded: {', '.join(self.keys)}"
            )
        return self.index.extents[key]

    def file(self, episode: int) -> Path:
        """Return the file that holds an episode: its own, or a shard."""
        return self.folder / self.index.files[self.index.file_of[episode]]

    def place(self, key: str, episode: int, step: int) -> str:
        """Return file, key, step and episode in words, for messages."""
        return f"{self.file(episode)}: {key}, frame {step} of episode {self.ids[episode]}"

    def array(self, key: str, episode: int) -> np.ndarray:
        """Return one array as a read-only memory map; each open one holds a file descriptor."""
        extents = self.extents(key)
        shape = (int(extents.rows[episode]), *extents.row_shape)
        if 0 in shape:
            return np.empty(shape, extents.dtype)
        offset = int(self.index.starts[episode] + extents.offsets[episode])
        return np.memmap(self.file(episode), extents.dtype, "r", offset, shape)

    def read_rows(self, key: str) -> np.ndarray:
        """Return ``key`` of all episodes end to end, (total rows, …), read into memory."""
        extents = self.extents(key)
        rows = np.empty((int(extents.rows.sum()), *extents.row_shape), extents.dtype)
        self.read_rows_into(key, rows)
        return rows

    def read_rows_into(self, key: str, out: np.ndarray) -> None:
        """Fill ``out``, contiguous and of the shape and dtype that ``read_rows`` returns.

        Raises:
            EpisodeError: A file is missing or shorter than the index says.
        """
        extents = self.extents(key)
        target = out.reshape(-1).view(np.uint8).data
        sizes = extents.rows * extents.row_bytes
        ends = np.cumsum(sizes)
        file_of = self.index.file_of
        # Episodes that share a shard are neighbours: each file is opened once.
        groups = np.split(np.arange(len(self.ids)), np.flatnonzero(np.diff(file_of)) + 1)
        for episodes in groups:
            path = self.file(int(episodes[0]))
            try:
                with path.open("rb", buffering=0) as file:
                    for e in episodes:
                        file.seek(int(self.index.starts[e] + extents.offsets[e]))
                        _read_exactly(file, target[ends[e] - sizes[e] : ends[e]])
            except (OSError, EOFError) as error:
                raise EpisodeError(f"{path}: cannot read {key}: {error}") from error

    def read_episode(self, episode: int) -> dict[str, np.ndarray]:
        """Return all arrays of one episode, checked against their content hash."""
        path = self.file(episode)
        start, size = int(self.index.starts[episode]), int(self.index.sizes[episode])
        with path.open("rb") as file:
            file.seek(start)
            image = file.read(size)
        return decode(image, path).arrays

    @cached_property
    def statistics(self) -> dict[str, Statistics]:
        """Return the statistics of ``observation.state`` and of the valid ``action`` rows."""
        values = json.loads(read_bytes(self.folder / STATISTICS))
        return {key: Statistics.from_json(value) for key, value in values.items()}

    @cached_property
    def manifest(self) -> dict[str, EpisodeRecord]:
        """Return the manifest's records by id."""
        return read_manifest(self.folder / MANIFEST)

    @property
    def config_yaml(self) -> str:
        """Return the text of the configuration that the round was collected with."""
        return read_bytes(self.folder / CONFIG).decode()


@dataclass(frozen=True)
class RoundFile:
    """The contents of ``round.json``; ``sha256`` by file name, ``episodes``: content hash by id."""

    index: str
    sha256: dict[str, str]
    episodes: dict[str, str]


def read_round_file(folder: Path) -> RoundFile:
    """Return the contents of ``round.json``; raise EpisodeError when it is absent or damaged."""
    path = folder / ROUND_FILE
    if not folder.is_dir():
        raise EpisodeError(f"{folder}: no such round folder")
    if not path.is_file():
        raise EpisodeError(_why_not_sealed(folder))
    try:
        values = cast(dict[str, object], json.loads(read_bytes(path)))
        version = values.pop("format_version")
        content = RoundFile(**values)  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EpisodeError(f"{path}: damaged: {error!r}") from error
    if version != FORMAT_VERSION:
        raise EpisodeError(
            f"{path}: format_version {version!r}, expected {FORMAT_VERSION}; "
            "read it with the version of this program that wrote it"
        )
    return content


def _why_not_sealed(folder: Path) -> str:
    """Return what the folder is instead of a sealed round, and what to do."""
    rounds = sorted(path.name for path in folder.iterdir() if _ROUND_NAME.fullmatch(path.name))
    if rounds:
        return f"{folder} is no round; it holds {', '.join(rounds)}: name one"
    config = folder / CONFIG
    if not config.is_file():
        return f"{folder} holds no round: there is neither {ROUND_FILE} nor {CONFIG}"
    if _COLLECTED.search(read_bytes(config).decode(errors="replace")):
        return (
            f"{folder} is not sealed; run data_collection.collect on its configuration again "
            "to finish and seal it"
        )
    return (
        f"{folder} is not sealed; run what writes it again, or, if it is whole, "
        "data_collection.episodes.seal(folder)"
    )


def open_round(folder: Path) -> SealedRound:
    """Return the sealed round in ``folder``; 10,000 episodes take a fraction of a second.

    Raises:
        EpisodeError: The round is missing, not sealed, of another format version, its index is
            damaged, or an episode's file is missing or too short.
    """
    content = read_round_file(folder)
    path = folder / content.index
    data = read_bytes(path)
    if hashlib.sha256(data).hexdigest() != content.sha256.get(content.index):
        raise EpisodeError(f"{path}: damaged: it does not match its hash in {ROUND_FILE}")
    try:
        index = Index.from_bytes(data)
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise EpisodeError(f"{path}: damaged: {error!r}") from error
    needed = np.zeros(len(index.files), dtype=np.int64)
    np.maximum.at(needed, index.file_of, index.starts + index.sizes)
    for name, size in zip(index.files, needed.tolist(), strict=True):
        try:
            found = (folder / name).stat().st_size
        except OSError as error:
            raise EpisodeError(f"{folder / name}: {error.strerror}") from error
        if found < size:
            raise EpisodeError(f"{folder / name}: truncated: {found} of {size} bytes")
    return SealedRound(folder, tuple(sorted(content.episodes)), index)


def _read_exactly(file: BinaryIO, target: memoryview) -> None:
    while len(target):
        count = file.readinto(target)  # type: ignore[attr-defined]
        if not count:
            raise EOFError("the file ends too early")
        target = target[count:]
