"""The parent's side of a worker process: what it was given, what it plays, whether it hangs."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from data_collection.player import Breakdown, Message, Outcome, Playing, Ready
from data_collection.schema import CollectConfig
from trainer.rollout import RolloutJob

_log = logging.getLogger(__name__)

_EXIT_CODES = "negative codes are signals, and -9 often means that memory ran out"


class WorkerProcess:
    """A worker, with its jobs.

    Args:
        process: Has been started.
        connection: To it.
        config: The round's configuration.
    """

    def __init__(
        self, process: ForkServerProcess, connection: Connection, config: CollectConfig
    ) -> None:
        self.process = process
        self.connection = connection
        self.jobs: dict[str, RolloutJob] = {}
        """Given and not done."""
        self.ready = False
        self.broke_down = False
        """Whether it has said so itself, and of which job."""
        self._start_timeout_s = config.cluster.start_timeout_s
        self._job_timeout_s = config.cluster.job_timeout_s
        self._unsent: deque[RolloutJob] = deque()
        self._alone: set[str] = set()
        """Ids of the jobs that it plays one at a time, before all others."""
        self._playing: tuple[str, ...] = ()
        self._heard = time.monotonic()
        """When it last showed a sign of life, or was given a job while it had none."""
        self._hung: str | None = None

    def give(self, job: RolloutJob, *, alone: bool = False) -> None:
        """Have it play a job; those that are to be played alone have to be given first."""
        if not self.jobs:
            self._heard = time.monotonic()
        self.jobs[job.id] = job
        self._unsent.append(job)
        if alone:
            self._alone.add(job.id)
        self._send()

    def hear(self, message: Message | Playing) -> None:
        """Note what its message tells."""
        self._heard = time.monotonic()
        if isinstance(message, Ready):
            self.ready = True
        elif isinstance(message, Playing):
            self._playing = message.ids
        elif isinstance(message, Breakdown):
            self.broke_down = True
        elif isinstance(message, Outcome):
            del self.jobs[message.job.id]
            self._alone.discard(message.job.id)
            self._send()

    def end_if_it_hangs(self) -> None:
        """Kill it when it takes too long to start, or over a rollout."""
        silent_s = time.monotonic() - self._heard
        if self._hung:
            return
        if not self.ready and silent_s > self._start_timeout_s:
            limit = f"{self._start_timeout_s:g} s (cluster.start_timeout_s)"
            self._hung = f"a worker was not ready after {limit}"
        elif self.ready and self.jobs and silent_s > self._job_timeout_s:
            self._hung = f"a rollout took over {self._job_timeout_s:g} s (cluster.job_timeout_s)"
        if self._hung:
            self.process.kill()

    @property
    def playing(self) -> Sequence[RolloutJob]:
        """Return the jobs whose episodes run or are written, or were when it died."""
        return [self.jobs[name] for name in self._playing if name in self.jobs]

    @property
    def suspected(self) -> set[str]:
        """Return the ids of the jobs of which one may have killed it, and was not alone."""
        playing = {job.id for job in self.playing}
        return self._alone | (playing if len(playing) > 1 else set())

    @property
    def cause(self) -> str:
        """Return what it died of."""
        return self._hung or f"a worker died (exit code {self.process.exitcode}: {_EXIT_CODES})"

    def _send(self) -> None:
        """Send what it may play now."""
        sent = len(self.jobs) - len(self._unsent)
        while self._unsent and not (self._alone and sent):
            job = self._unsent.popleft()
            sent += 1
            try:
                self.connection.send(job)
            except BrokenPipeError:
                _log.debug("a worker died before job %s; its replacement gets it", job.id)
