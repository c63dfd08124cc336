"""A teacher node: an actor that plays the jobs of the runner's queue, one rollout each.

What plays is ``data_collection.player``, as in the worker processes of one machine; only the
channel differs, and where the episodes go.
"""

from __future__ import annotations

import logging
import queue
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import ray
from ray.exceptions import RayError

from data_collection.cluster.actors import find, text_of
from data_collection.cluster.messages import JobMessage, RoundOrder, loaded_of, parse, to_report
from data_collection.cluster.news import Beat
from data_collection.cluster.render_node import RemoteGenerator
from data_collection.cluster.schema import ClusterConfig
from data_collection.cluster.storage import Storage
from data_collection.episodes.writer import episode_path
from data_collection.player import Message, Outcome, Ready, capacity, play
from data_collection.schema import CollectConfig
from trainer.config import Loaded
from trainer.errors import UserError
from trainer.rollout import RolloutJob

_log = logging.getLogger(__name__)

_TAKE_WAIT_S = 5.0
"""How long the queue may keep a node waiting before it asks again."""


class TeacherNode:
    """Plays jobs from the queue until it is gone, or until a rollout breaks down.

    Args:
        name: Its own.
        order: A ``RoundOrder`` as JSON.
    """

    def __init__(self, name: str, order: str) -> None:
        self._name = name
        self._order = parse(RoundOrder, order)

    def play(self) -> None:
        """Play: the whole life of a node. What goes wrong is reported to the queue."""
        order = self._order
        loaded = loaded_of(order)
        generator = self._generator(loaded.config.cluster)
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="teacher_")))
            folder = Path(order.folder) if order.folder else scratch / "round"
            deliver = _Delivery(loaded.config.cluster.storage, folder, order.prefix)
            channel = stack.enter_context(
                QueueChannel(self._name, loaded.config, deliver, generator)
            )
            try:
                loaded = _with_student(loaded, order, scratch / "student")
            except UserError as error:
                channel.send(error)
                return
            play(loaded, folder, channel, generator)

    def _generator(self, cluster: ClusterConfig) -> RemoteGenerator | None:
        """Return the render nodes, None when there are none: then pictures are generated here."""
        names = self._order.renderers
        if not names:
            return None
        first = int(self._name.rpartition("_")[2])
        return RemoteGenerator(names, first, cluster.render.timeout_s)


class QueueChannel:
    """The runner's queue as the channel of a worker. Use it as a context manager.

    A thread takes jobs ahead, another one gives signs of life.

    Args:
        name: The node's.
        config: The round's configuration.
        deliver: Called with an outcome before it is reported.
        generator: The render nodes, if there are any.
    """

    def __init__(
        self,
        name: str,
        config: CollectConfig,
        deliver: Callable[[Outcome], None],
        generator: RemoteGenerator | None,
    ) -> None:
        self._name = name
        self._queue = find(config.cluster.teacher_queue_name)
        self._capacity = capacity(config)
        self._heartbeat_s = config.cluster.heartbeat_s
        self._deliver = deliver
        self._generator = generator
        self._jobs: queue.SimpleQueue[RolloutJob | None] = queue.SimpleQueue()
        self._held: set[str] = set()
        self._reported = threading.Condition()
        self._ended = threading.Event()
        self._waited_s = 0.0
        self._ready: tuple[str, str] | None = None
        """The report that says so, and the generation of the queue that has it."""

    def __enter__(self) -> QueueChannel:
        for run in (self._beat, self._take):
            threading.Thread(target=run, name=run.__name__, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def recv(self) -> RolloutJob:
        """Wait for a job and return it; raise EOFError when the queue is gone."""
        begin = time.monotonic()
        job = self._jobs.get()
        self._waited_s += time.monotonic() - begin
        if job is None:
            raise EOFError
        return job

    def poll(self) -> bool:
        """Return whether a job waits."""
        return not self._jobs.empty()

    def send(self, message: Message, /) -> None:
        """Deliver what an outcome speaks of, then report it."""
        done: list[str] = []
        if isinstance(message, Outcome):
            self._deliver(message)
            done = [message.job.id]
        report = to_report(message)
        sent = self._queue.report.remote(self._name, [report], done)
        if isinstance(message, Outcome):
            with self._reported:
                self._held.discard(message.job.id)
                self._reported.notify()
            return
        generation = text_of(sent)  # the last message has to go out before the process ends
        if isinstance(message, Ready):
            self._ready = report, generation

    def _take(self) -> None:
        try:
            while not self._ended.is_set():
                with self._reported:
                    self._reported.wait_for(lambda: len(self._held) < self._capacity)
                    held = sorted(self._held)
                room = self._capacity - len(held)
                taken = ray.get(self._queue.take.remote(self._name, held, room, _TAKE_WAIT_S))
                if taken is None:
                    break
                jobs = [parse(JobMessage, text).to_job() for text in taken]
                with self._reported:
                    self._held |= {job.id for job in jobs}
                for job in jobs:
                    self._jobs.put(job)
        except RayError as error:
            _log.debug("the queue is gone: %s", error)
        self._jobs.put(None)

    def _beat(self) -> None:
        machine = ray.get_runtime_context().get_node_id()
        try:
            while True:
                rendering_s = self._generator.waited_s if self._generator else 0.0
                beat = Beat(waited_s=self._waited_s, rendering_s=rendering_s, machine=machine)
                with self._reported:
                    held = sorted(self._held)
                heard = self._queue.beat.remote(self._name, held, beat.model_dump_json())
                generation = text_of(heard)
                if self._ready and self._ready[1] != generation:
                    # The runner may not have heard of it before the queue was lost.
                    again = self._queue.report.remote(self._name, [self._ready[0]], [])
                    self._ready = self._ready[0], text_of(again)
                if self._ended.wait(self._heartbeat_s):
                    return
        except RayError as error:
            _log.debug("the queue is gone: %s", error)
            self._jobs.put(None)


class _Delivery:
    """Brings written episodes to the storage, and removes them from this machine."""

    def __init__(self, storage: str | None, folder: Path, prefix: str) -> None:
        self._storage = Storage(storage) if storage else None
        self._folder = folder
        self._prefix = prefix

    def __call__(self, outcome: Outcome) -> None:
        if self._storage is None or outcome.record is None:
            return
        file = episode_path(self._folder, outcome.record.id)
        self._storage.put(file, f"{self._prefix}/{file.parent.name}/{file.name}")
        file.unlink()


def _with_student(
    loaded: Loaded[CollectConfig], order: RoundOrder, folder: Path
) -> Loaded[CollectConfig]:
    """Return the configuration with the student's checkpoint as a folder of this machine."""
    student, storage = loaded.config.student, loaded.config.cluster.storage
    if student is None or storage is None or order.student is None:
        return loaded
    from data_collection.cluster.checkpoint_copy import get_checkpoint  # needs torch

    get_checkpoint(Storage(storage), order.student, folder)
    here = student.model_copy(update={"checkpoint": str(folder)})
    return replace(loaded, config=loaded.config.model_copy(update={"student": here}))
