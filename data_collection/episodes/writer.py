"""Writes episode files, from any process: temporary name, fsync, rename."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from data_collection.episodes.codec import EpisodeAttributes, encode
from data_collection.episodes.files import sync, write_new
from data_collection.episodes.manifest import EpisodeRecord
from data_collection.episodes.schema import EpisodeContentError, EpisodeError, check_id
from data_collection.episodes.survey import Survey

_Job = tuple[str, Mapping[str, np.ndarray], EpisodeAttributes]

EPISODES = "episodes"
ROUND_FILE = "round.json"


def is_sealed(folder: Path) -> bool:
    """Return True when the round in ``folder`` is finished and may no longer change."""
    return (folder / ROUND_FILE).is_file()


def refuse_sealed(folder: Path) -> None:
    """Raise EpisodeError when the round is sealed."""
    if is_sealed(folder):
        raise EpisodeError(f"{folder} is sealed and takes no more episodes; start another round")


def episode_path(folder: Path, rollout_id: str) -> Path:
    """Return where the round keeps this episode before it is packed."""
    return folder / EPISODES / f"{rollout_id}.h5"


def write_episode(
    folder: Path,
    rollout_id: str,
    arrays: Mapping[str, np.ndarray],
    attributes: EpisodeAttributes,
) -> EpisodeRecord:
    """Write one episode of the round in ``folder`` durably and return its manifest record.

    Raises:
        EpisodeContentError: The arrays are not what the format allows (NaN included).
        EpisodeError: The round is sealed, or the disk is full; then no file is left behind.
    """
    return _publish([_stage(folder, rollout_id, arrays, attributes)])[0]


@dataclass(frozen=True)
class _Staged:
    temporary: Path
    final: Path
    record: EpisodeRecord


def _stage(
    folder: Path,
    rollout_id: str,
    arrays: Mapping[str, np.ndarray],
    attributes: EpisodeAttributes,
) -> _Staged:
    check_id(rollout_id)
    refuse_sealed(folder)
    try:
        encoded = encode(rollout_id, arrays, attributes)
    except EpisodeError as error:
        raise EpisodeContentError(rollout_id, str(error)) from error
    final = episode_path(folder, rollout_id)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    hashes = (encoded.content_sha256, write_new(temporary, *encoded.pieces))
    size = sum(map(len, encoded.pieces))
    survey = Survey.of(arrays, encoded.extents)
    record = EpisodeRecord.of(rollout_id, arrays, attributes, hashes, size, survey)
    return _Staged(temporary, final, record)


def _publish(staged: Sequence[_Staged]) -> list[EpisodeRecord]:
    """Sync all files, then rename all: one wait for the disk serves the whole group."""
    try:
        for item in staged:
            sync(item.temporary)
    except EpisodeError:
        for item in staged:
            item.temporary.unlink(missing_ok=True)
        raise
    for item in staged:
        item.temporary.replace(item.final)
    for folder in {item.final.parent for item in staged}:
        sync(folder)
    return [item.record for item in staged]


class AsyncEpisodeWriter:
    """Writes episodes in a thread, so that the simulation never waits for the disk.

    ``on_written`` is called in that thread with each durable episode's record. An error in the
    thread is raised by the next ``submit`` or by ``close``. Use it as a context manager.
    """

    def __init__(
        self, folder: Path, on_written: Callable[[EpisodeRecord], None], *, max_pending: int = 8
    ) -> None:
        self._folder = folder
        self._on_written = on_written
        self._jobs: queue.Queue[_Job | None] = queue.Queue(max_pending)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="episode-writer", daemon=True)
        self._thread.start()

    def submit(
        self, rollout_id: str, arrays: Mapping[str, np.ndarray], attributes: EpisodeAttributes
    ) -> None:
        """Queue an episode, waiting while ``max_pending`` are queued; raise an earlier error.

        The arrays belong to the writer from here on: do not change them.
        """
        self._raise_error()
        self._jobs.put((rollout_id, arrays, attributes))

    def close(self) -> None:
        """Wait until everything is durable; raise the thread's error if it had one."""
        self._finish()
        self._raise_error()

    def __enter__(self) -> AsyncEpisodeWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._finish()
        if error is None:  # otherwise the error on its way matters more than the writer's own
            self._raise_error()

    def _finish(self) -> None:
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        finished = False
        while not finished:
            group = [self._jobs.get()]
            while not self._jobs.empty():
                group.append(self._jobs.get_nowait())
            finished = None in group
            if self._error is None:  # after an error the queue is only emptied
                try:
                    self._write([job for job in group if job is not None])
                except Exception as error:  # whatever it is, the caller hears of it
                    self._error = error

    def _write(self, jobs: list[_Job]) -> None:
        staged: list[_Staged] = []
        try:
            for job in jobs:
                staged.append(_stage(self._folder, *job))
        finally:  # a bad episode does not take the good ones before it down
            for record in _publish(staged):
                self._on_written(record)
