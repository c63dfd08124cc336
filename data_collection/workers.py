"""The processes that play and write episodes; a worker that is killed is replaced."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

from data_collection.player import Breakdown, Message, Outcome, Playing, Ready, capacity, work
from data_collection.round_pool import RoundPool
from data_collection.schema import CollectConfig
from data_collection.worker_process import WorkerProcess
from trainer.config import Loaded
from trainer.errors import UserError
from trainer.rollout import RolloutJob

_OWN_PLUGINS = "data_collection."
"""Plugins known to raise nothing but ImportError, which the fork server can stand."""

_STUDENT_MODULES = ("trainer.acting", "trainer.planner")
"""They import torch, which takes longer than to fork a worker."""

_LOOK_S = 1.0
"""Between looks at workers that may hang."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerPool(RoundPool):
    """Workers that take jobs and report outcomes, in no particular order.

    A worker that is killed, or hangs, is replaced, and its jobs are done again; a job with which
    workers break down more than ``max_retries`` times is given up.

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
        self._workers: list[WorkerProcess] = []
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

    def _start(self) -> WorkerProcess:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=work, args=(self._loaded, self._folder, theirs), daemon=True
        )
        with _one_thread_each():
            process.start()
        theirs.close()  # so that the pipe ends with the worker
        return WorkerProcess(process, ours, self._loaded.config)

    def _receive(self, most_s: float) -> list[Outcome]:
        by_connection = {worker.connection: worker for worker in self._workers}
        done: list[Outcome] = []
        for connection in wait(list(by_connection), min(most_s, _LOOK_S)):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                message: Message | Playing = worker.connection.recv()
            except (EOFError, ConnectionResetError):
                done += self._replace(worker)
                continue
            if isinstance(message, UserError):
                raise message
            worker.hear(message)
            if isinstance(message, Ready):
                self._note_ready("a worker", message)
            elif isinstance(message, Breakdown):
                outcome = self._retries.broke_down(message.job, message.reason)
                done += self._given_up(worker, [outcome] if outcome else [])
            elif isinstance(message, Outcome):
                self._retries.works()
                done.append(message)
        for worker in self._workers:
            worker.end_if_it_hangs()
        return done

    def _replace(self, dead: WorkerProcess) -> list[Outcome]:
        """Start another worker on the jobs of a dead one, and return those that are given up.

        Where several rollouts ran at the same time, nobody knows which one is to blame: each of
        them is played again alone before anything else.

        Raises:
            UserError: Workers die before they are ready.
        """
        dead.process.join()
        given_up: list[Outcome] = []
        if not dead.broke_down:
            suspects = dead.playing
            blamed = suspects if len(suspects) == 1 else []
            lost = self._retries.lost("a worker", dead.cause, blamed, ready=dead.ready)
            given_up = self._given_up(dead, lost)
        others = [worker for worker in self._workers if worker.ready and worker is not dead]
        successor = self._start()
        self._workers[self._workers.index(dead)] = successor
        # One that could not even start may hang again: those who can play take its jobs.
        heirs = others if others and not dead.ready else [successor]
        suspected = dead.suspected
        for job in sorted(dead.jobs.values(), key=lambda job: job.id not in suspected):
            heir = min(heirs, key=lambda worker: len(worker.jobs))
            heir.give(job, alone=job.id in suspected)
        return given_up

    def _given_up(self, worker: WorkerProcess, outcomes: list[Outcome]) -> list[Outcome]:
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
