"""The processes that play and write episodes; a worker that is killed is replaced."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import TracebackType

from data_collection.player import Message, Outcome, Ready, play
from data_collection.schema import CollectConfig
from trainer.config import Loaded
from trainer.errors import UserError
from trainer.rollout import RolloutJob

_log = logging.getLogger(__name__)

_PREFETCHED_JOBS = 2
"""Jobs that wait in a worker, so that it plays on while its last episode goes to the disk."""

_DEATHS_IN_A_ROW = 3

_OWN_PLUGINS = "data_collection."
"""Plugins known to raise nothing but ImportError, which the fork server can stand."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerPool:
    """Workers that take jobs and report outcomes, in no particular order.

    A worker that is killed is replaced, and its jobs are done again. Use it as a context manager;
    on entering, ``recorded`` becomes what the workers say about their environment.

    Raises:
        UserError: On entering, when the environment or the teacher cannot be built.
    """

    def __init__(self, loaded: Loaded[CollectConfig], folder: Path, workers: int) -> None:
        self._loaded = loaded
        self._folder = folder
        self._context = multiprocessing.get_context("forkserver")
        # Workers are forked from a clean process which has imported these once for all of them.
        own = [name for name in loaded.config.plugins if name.startswith(_OWN_PLUGINS)]
        self._context.set_forkserver_preload(["data_collection.player", *own])
        self._capacity = loaded.config.environments_per_worker + _PREFETCHED_JOBS
        self._workers: list[_Worker] = []
        self._size = workers
        self._deaths = 0
        self.recorded: dict[str, object] = {}

    def __enter__(self) -> WorkerPool:
        self._workers = [self._start() for _ in range(self._size)]
        try:
            while not self.recorded:
                self._receive()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def outstanding(self) -> int:
        """How many jobs are submitted and not done."""
        return sum(len(worker.jobs) for worker in self._workers)

    @property
    def has_room(self) -> bool:
        """Whether a further job would reach a worker before it has run out of others."""
        return any(len(worker.jobs) < self._capacity for worker in self._workers)

    def submit(self, job: RolloutJob) -> None:
        """Give a job to the worker that has the fewest."""
        min(self._workers, key=lambda worker: len(worker.jobs)).give(job)

    def outcomes(self) -> list[Outcome]:
        """Wait, then return what is done; raise UserError when a worker reports one."""
        while not (done := self._receive()):
            pass
        return done

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=play, args=(self._loaded, self._folder, theirs), daemon=True
        )
        with _one_thread_each():
            process.start()
        theirs.close()  # so that the pipe ends with the worker
        return _Worker(process, ours)

    def _receive(self) -> list[Outcome]:
        """Wait for one message or death at least, and return the outcomes among them."""
        by_connection = {worker.connection: worker for worker in self._workers}
        done: list[Outcome] = []
        for connection in wait(list(by_connection)):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                message: Message = worker.connection.recv()
            except (EOFError, ConnectionResetError):
                self._replace(worker)
                continue
            if isinstance(message, UserError):
                raise message
            if isinstance(message, Ready):
                self.recorded = message.recorded
            else:
                self._deaths = 0
                del worker.jobs[message.job.id]
                done.append(message)
        return done

    def _replace(self, dead: _Worker) -> None:
        """Start another worker on the jobs of a dead one; raise UserError when all of them die."""
        dead.process.join()
        self._deaths += 1
        playing = ", ".join(dead.jobs) or "nothing yet"
        cause = f"a worker died (exit code {dead.process.exitcode}) while it played {playing}"
        if self._deaths >= _DEATHS_IN_A_ROW:
            raise UserError(
                f"{cause}; it is number {self._deaths} in a row. A negative code is a signal: -9 "
                "often means that memory ran out; then use fewer workers"
            )
        _log.warning("%s; its episodes are played again", cause)
        successor = self._start()
        for job in dead.jobs.values():
            successor.give(job)
        self._workers[self._workers.index(dead)] = successor

    def _stop(self) -> None:
        for worker in self._workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()


class _Worker:
    """The parent's side of a worker process."""

    def __init__(self, process: ForkServerProcess, connection: Connection) -> None:
        self.process = process
        self.connection = connection
        self.jobs: dict[str, RolloutJob] = {}

    def give(self, job: RolloutJob) -> None:
        self.jobs[job.id] = job
        try:
            self.connection.send(job)
        except BrokenPipeError:
            _log.debug("a worker died before job %s; its replacement gets it", job.id)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let child processes compute on one thread: there is a worker for every core already."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
