"""A worker: it plays the jobs that come through a channel, writes them, reports back.

It gets everything that decides an episode with its start and the job: what it writes does not
depend on which worker it is, nor on how many there are, nor on the machine that it runs on.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from data_collection.cast import Cast
from data_collection.episode_buffer import EpisodeArrays
from data_collection.episodes import (
    AsyncEpisodeWriter,
    EpisodeContentError,
    EpisodeError,
    EpisodeRecord,
)
from data_collection.rendering.generators import Generator
from data_collection.schema import CollectConfig
from trainer.config import Loaded
from trainer.environment import Environment
from trainer.errors import DataError, UserError
from trainer.rollout import ActionError, EpisodeResult, RolloutError, RolloutJob

_PREFETCHED_JOBS = 2
"""Jobs that wait in a worker, so that it plays on while its last episode goes to the disk; one for
each environment if that is more, for all of them may finish at once."""

CHECKPOINTS = "checkpoints"
"""Part of what is recorded of a round: which files those who take part were loaded from."""


@dataclass(frozen=True)
class Ready:
    """The worker has built its environments and its teacher.

    ``recorded`` is what the round's config says beyond what its author wrote.
    """

    recorded: dict[str, object]
    longest: int
    """Steps of the longest possible episode."""


@dataclass(frozen=True)
class Outcome:
    """A job is done: ``record`` is the written episode's, None when there is none.

    That is so when its episode was dropped as no success, or when it broke down again and again;
    then ``failure`` says how.
    """

    job: RolloutJob
    record: EpisodeRecord | None
    failure: str | None = None
    labelling_seconds: float = 0.0
    """Spent on label chunks since the worker's last outcome."""


@dataclass(frozen=True)
class Breakdown:
    """The job's rollout raised what no user can mend."""

    job: RolloutJob
    reason: str


@dataclass(frozen=True)
class Playing:
    """These jobs' episodes run in the worker, or are written: one of them has just begun."""

    ids: tuple[str, ...]


Message = Ready | Outcome | Breakdown | UserError
"""What a worker reports; a breakdown or an error is its last message."""


class Channel(Protocol):
    """How a worker hears of jobs and reports outcomes; a pipe is one."""

    def recv(self) -> RolloutJob:
        """Wait for a job and return it; raise EOFError when there will be none any more."""
        ...

    def poll(self) -> bool:
        """Return whether a job waits."""
        ...

    def send(self, message: Message | Playing, /) -> None:
        """Report; several threads may do so, one at a time."""
        ...


def work(loaded: Loaded[CollectConfig], folder: Path, connection: Connection) -> None:
    """Play jobs until the parent is gone: the whole life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        play(loaded, folder, connection)
    except (BrokenPipeError, ConnectionResetError):
        return


def _end_with_parent() -> None:
    """End this process when the parent does: what hangs would not notice."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def play(
    loaded: Loaded[CollectConfig],
    folder: Path,
    channel: Channel,
    generator: Generator | None = None,
) -> None:
    """Play the jobs of a channel until it ends, or until a rollout breaks down.

    Args:
        loaded: The round's configuration.
        folder: Where its episodes are written.
        channel: Where jobs come from. What goes wrong is reported there: it is the last message.
        generator: Makes generated pictures in the place of the configured generator.
    """
    try:
        _Player(loaded, folder, channel, generator).play()
    except EOFError:
        return
    except EpisodeError as error:
        channel.send(DataError(str(error)))
    except ActionError as error:
        channel.send(Breakdown(error.job, str(error)))
    except UserError as error:
        channel.send(error)
    except RolloutError as error:
        cause = error.__cause__
        is_clear = isinstance(cause, EpisodeContentError)
        reason = str(cause) if is_clear else "".join(traceback.format_exception(cause))
        channel.send(Breakdown(error.job, reason))


def capacity(config: CollectConfig) -> int:
    """Return how many jobs a worker holds: those it plays, and those that it will play next."""
    environments = config.environments_per_worker
    return environments + max(environments, _PREFETCHED_JOBS)


def described(environment: Environment) -> dict[str, object]:
    """Return what an environment turned out to be, as plain values for a round's config."""
    shapes = environment.observation_shapes
    return {
        "control_hz": float(environment.control_hz),
        "action": environment.action_dim,
        "observations": {key: list(shape) for key, shape in shapes.items()},
        **environment.describe(),
    }


class _Player:
    """Environments, a teacher, a writer, and the channel of the jobs."""

    def __init__(
        self,
        loaded: Loaded[CollectConfig],
        folder: Path,
        channel: Channel,
        generator: Generator | None,
    ) -> None:
        self._config = loaded.config
        self._folder = folder
        self._channel = channel
        self._sending = threading.Lock()
        self._jobs: dict[str, RolloutJob] = {}
        self._playing: list[str] = []
        """Those that have begun, until their episodes are written."""
        self._labelling_told = 0.0
        self._cast = Cast(loaded, loaded.config.environments_per_worker, generator)

    def play(self) -> None:
        """Play the jobs of the channel; raise EOFError when it ends."""
        environment = self._cast.environments[0]
        longest = self._config.max_steps or environment.max_steps
        recorded = described(environment)
        if checkpoints := self._cast.checkpoints():
            recorded[CHECKPOINTS] = checkpoints
        self._send(Ready(recorded, longest))
        while True:
            jobs = itertools.chain([self._next_job()], self._waiting_jobs())
            # Closing the writer before waiting for another job brings its errors to light.
            try:
                with AsyncEpisodeWriter(self._folder, self._report) as writer:
                    self._cast.play(jobs, partial(self._finish, writer))
            except EpisodeContentError as error:
                raise RolloutError(self._jobs[error.rollout_id]) from error

    def _finish(
        self, writer: AsyncEpisodeWriter, result: EpisodeResult, arrays: EpisodeArrays
    ) -> None:
        if result.success or self._config.keep_failures:
            writer.submit(result.id, arrays, self._cast.attributes(result))
        else:
            self._send(self._outcome(result.id, None))

    def _next_job(self) -> RolloutJob:
        job = self._channel.recv()
        self._jobs[job.id] = job
        self._playing.append(job.id)  # it is asked for where an environment is free
        self._send(Playing(tuple(self._playing)))
        return job

    def _waiting_jobs(self) -> Iterator[RolloutJob]:
        """Yield the jobs at hand: to wait for another would stop the episodes that are running."""
        while self._channel.poll():
            yield self._next_job()

    def _report(self, record: EpisodeRecord) -> None:
        self._send(self._outcome(record.id, record))

    def _outcome(self, rollout_id: str, record: EpisodeRecord | None) -> Outcome:
        spent = self._cast.labelling_seconds
        since, self._labelling_told = spent - self._labelling_told, spent
        self._playing.remove(rollout_id)
        return Outcome(self._jobs.pop(rollout_id), record, labelling_seconds=since)

    def _send(self, message: Message | Playing) -> None:
        with self._sending:  # the writer's thread reports too
            self._channel.send(message)
