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

from data_collection.player import Breakdown, Message, Outcome, Ready, capacity, work
from data_collection.round_pool import RoundPool
from data_collection.schema import CollectConfig
from trainer.config import Loaded
from trainer.errors import UserError
from trainer.rollout import RolloutJob

_log = logging.getLogger(__name__)

_EXIT_CODES = "negative codes are signals, and -9 often means that memory ran out"

_OWN_PLUGINS = "data_collection."
"""Plugins known to raise nothing but ImportError, which the fork server can stand."""

_STUDENT_MODULES = ("trainer.acting", "trainer.planner")
"""They import torch, which takes longer than to fork a worker."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerPool(RoundPool):
    """Workers that take jobs and report outcomes, in no particular order.

    A worker that is killed is replaced, and its jobs are done again; a job with which workers
    break down more than ``max_retries`` times is given up.

    Args:
        loaded: The round's configuration.
        folder: Of the round.
        workers: How many.
        students: Prepare for later rounds in which a student acts, too.

    Raises:
        UserError: On entering, when the environment or the teacher cannot be built.
    """

    def __init__(
        self, loaded: Loaded[CollectConfig], folder: Path, workers: int, *, students: bool
    ) -> None:
        super().__init__(loaded.config)
        self._loaded = loaded
        self._folder = folder
        self._context = multiprocessing.get_context("forkserver")
        # Workers are forked from a clean process which has imported these once for all of them.
        own = [name for name in loaded.config.plugins if name.startswith(_OWN_PLUGINS)]
        students = students or loaded.config.student is not None
        self._context.set_forkserver_preload(
            ["data_collection.player", *own, *(_STUDENT_MODULES if students else ())]
        )
        self._capacity = capacity(loaded.config)
        self._workers: list[_Worker] = []
        self._size = workers

    def _open(self) -> None:
        self._workers = [self._start() for _ in range(self._size)]

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

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=work, args=(self._loaded, self._folder, theirs), daemon=True
        )
        with _one_thread_each():
            process.start()
        theirs.close()  # so that the pipe ends with the worker
        return _Worker(process, ours)

    def _receive(self, most_s: float) -> list[Outcome]:
        by_connection = {worker.connection: worker for worker in self._workers}
        done: list[Outcome] = []
        for connection in wait(list(by_connection), most_s):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                message: Message = worker.connection.recv()
            except (EOFError, ConnectionResetError):
                done += self._replace(worker)
                continue
            if isinstance(message, UserError):
                raise message
            if isinstance(message, Ready):
                self._note_ready(message)
                worker.ready = True
            elif isinstance(message, Breakdown):
                worker.broke_down = True
                outcome = self._retries.broke_down(message.job, message.reason)
                done += self._given_up(worker, [outcome] if outcome else [])
            else:
                self._retries.works()
                del worker.jobs[message.job.id]
                done.append(message)
        return done

    def _replace(self, dead: _Worker) -> list[Outcome]:
        """Start another worker on the jobs of a dead one, and return those that are given up.

        Raises:
            UserError: Workers die before they are ready.
        """
        dead.process.join()
        given_up: list[Outcome] = []
        if not dead.broke_down:
            cause = f"a worker died (exit code {dead.process.exitcode}: {_EXIT_CODES})"
            held = list(dead.jobs.values())
            lost = self._retries.lost("a worker", cause, held, ready=dead.ready)
            given_up = self._given_up(dead, lost)
        successor = self._start()
        for job in dead.jobs.values():
            successor.give(job)
        self._workers[self._workers.index(dead)] = successor
        return given_up

    def _given_up(self, worker: _Worker, outcomes: list[Outcome]) -> list[Outcome]:
        """Return the outcomes, having taken their jobs from the worker."""
        for outcome in outcomes:
            del worker.jobs[outcome.job.id]
        return outcomes

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
        self.ready = False
        self.broke_down = False
        """Whether it has said so itself, and of which job."""

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
