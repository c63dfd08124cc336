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
from ray.exceptions import RayError, RayTaskError

from data_collection.cluster.actors import find, text_of
from data_collection.cluster.messages import JobMessage, RoundOrder, loaded_of, parse, to_report
from data_collection.cluster.news import Beat, Given, Told
from data_collection.cluster.render_node import RemoteGenerator, build_generator
from data_collection.cluster.storage import Storage
from data_collection.episodes.writer import episode_path
from data_collection.player import Message, Outcome, Playing, Ready, capacity, play
from data_collection.schema import CollectConfig
from trainer.config import Loaded
from trainer.errors import UserError
from trainer.rollout import RolloutJob

_log = logging.getLogger(__name__)


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
        generator = self._generator(loaded)
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

    def _generator(self, loaded: Loaded[CollectConfig]) -> RemoteGenerator | None:
        """Return the render nodes, None when there are none: then pictures are generated here."""
        names = self._order.renderers
        if not names:
            return None
        first = int(self._name.rpartition("_")[2])
        timeout_s = loaded.config.cluster.render.timeout_s
        return RemoteGenerator(names, first, timeout_s, lambda: build_generator(loaded))


class QueueChannel:
    """The runner's queue as the channel of a worker. Use it as a context manager.

    A thread talks with the queue: when there is something to report, when there is nothing to do,
    and once in a while as a sign of life. Whenever it does, it takes jobs ahead.

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
        self._playing: tuple[str, ...] = ()
        self._reports: list[str] = []
        self._done: list[str] = []
        """Ids of the jobs that the reports end."""
        self._changed = threading.Condition()
        self._ended = False
        self._waited_s = 0.0
        self._ready: str | None = None
        """The report that says so."""
        self._generation = ""
        """Of the queue that was talked with last."""
        self._machine = ray.get_runtime_context().get_node_id()
        self._thread = threading.Thread(target=self._talk, name="queue", daemon=True)

    def __enter__(self) -> QueueChannel:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()  # the last message has to go out before the process ends

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

    def send(self, message: Message | Playing, /) -> None:
        """Deliver what an outcome speaks of, and leave it to the thread to report it."""
        if isinstance(message, Playing):  # goes along with whatever is told next
            self._playing = message.ids
            return
        if isinstance(message, Outcome):
            self._deliver(message)
        report = to_report(message)
        with self._changed:
            self._reports.append(report)
            if isinstance(message, Outcome):
                self._done.append(message.job.id)
                self._held.discard(message.job.id)
            if isinstance(message, Ready):
                self._ready = report
            self._changed.notify()

    def _talk(self) -> None:
        try:
            over = False
            while not over:
                with self._changed:
                    told, over = self._to_tell(), self._ended
                    self._reports, self._done = [], []
                answer = self._queue.exchange.remote(self._name, told.model_dump_json())
                given = parse(Given, text_of(answer))
                over = over or given.closed
                with self._changed:
                    self._note(given)
                    self._changed.wait_for(self._must_talk, 0.0 if over else self._heartbeat_s)
        except RayTaskError as error:  # its code runs, but does not understand this node's
            _log.error("%s: the queue refuses what it is told: %s", self._name, error)
        except RayError as error:
            _log.debug("the queue is gone: %s", error)
        self._jobs.put(None)

    def _to_tell(self) -> Told:
        """Return what the queue has not heard yet."""
        rendering_s = self._generator.waited_s if self._generator else 0.0
        return Told(
            beat=Beat(
                waited_s=self._waited_s,
                rendering_s=rendering_s,
                machine=self._machine,
                playing=self._playing,
            ),
            held=sorted(self._held),
            reports=self._reports,
            done=self._done,
            room=0 if self._ended else self._capacity - len(self._held),
            wait_s=self._heartbeat_s if self._is_idle() else 0.0,
        )

    def _note(self, given: Given) -> None:
        """Note what the queue has given."""
        for text in given.jobs:
            job = parse(JobMessage, text).to_job()
            self._held.add(job.id)
            self._jobs.put(job)
        if self._ready and self._generation not in ("", given.generation):
            # The runner may not have heard of it before the queue was lost.
            self._reports.append(self._ready)
        self._generation = given.generation

    def _must_talk(self) -> bool:
        return self._ended or bool(self._reports) or self._is_idle()

    def _is_idle(self) -> bool:
        """Return whether there is nothing to do, and so nothing to report before there is."""
        return self._ready is not None and not self._held


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
