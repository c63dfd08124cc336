"""The runner's side of a round on a cluster: jobs go to teacher nodes, outcomes come back."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayError

from data_collection.cluster.actors import start_named
from data_collection.cluster.messages import JobMessage, RoundOrder, from_report, parse
from data_collection.cluster.news import Beat, QueueNews
from data_collection.cluster.progress import Progress
from data_collection.cluster.render_pool import RenderNodes
from data_collection.cluster.round_storage import RoundStorage
from data_collection.cluster.storage import DamagedError
from data_collection.cluster.teacher_nodes import Lost, TeacherNodes
from data_collection.cluster.teacher_queue import TeacherQueue
from data_collection.player import Breakdown, Outcome, Ready
from data_collection.round_pool import RoundPool
from data_collection.schema import CollectConfig
from trainer.config import Loaded
from trainer.errors import UserError
from trainer.rollout import RolloutJob

_log = logging.getLogger(__name__)

_NEWS_WAIT_S = 0.5
_CLOSE_WITHIN_S = 5.0
_COPY_WAIT_S = 0.05
"""Between looks at copies that are under way."""
_RESTART_WITHIN_S = 30.0
"""Of the queue, when it has died; while it does, calls wait."""
_NAME_FREE_WITHIN_S = 60.0
"""A runner that was killed keeps its queue's name until the cluster has noticed."""


class RayPool(RoundPool):
    """Teacher nodes on a cluster that take jobs from a queue, and report outcomes.

    A node that dies or hangs is replaced, and its jobs go back to the queue; a job with which
    nodes break down more than ``max_retries`` times is given up.

    Args:
        loaded: The round's configuration.
        folder: Of the round. Episodes that only the storage has are brought there on entering,
            those that are played later before their outcome is returned.

    Raises:
        UserError: On entering, when there is no room for a teacher node, or the environment or
            the teacher cannot be built.
    """

    def __init__(self, loaded: Loaded[CollectConfig], folder: Path) -> None:
        super().__init__(loaded.config)
        self._loaded = loaded
        self._config = loaded.config
        self._storage = RoundStorage(loaded.config, folder)
        self._renderers = RenderNodes(loaded.config)
        self._nodes = TeacherNodes(loaded.config)
        self._stack = ExitStack()
        """Ends what was started, in the reverse order."""
        self._progress = Progress(loaded.config.cluster.report_every_s)
        self._jobs: dict[str, RolloutJob] = {}
        self._unsent: list[RolloutJob] = []
        self._copies: dict[Future[None], Outcome] = {}

    def _open(self) -> None:
        self._stack.callback(self._storage.close)
        self._queue = _new_queue(self._config.cluster.teacher_queue_name)
        self._stack.callback(ray.kill, self._queue)
        self._generation = self._exchange([], 0.0).generation
        self._storage.bring_strays()
        order = self._order()
        self._stack.callback(self._renderers.stop)
        names = self._renderers.start(order.model_dump_json())
        self._stack.callback(self._dismiss)
        self._nodes.hire(order.model_copy(update={"renderers": names}).model_dump_json())

    @property
    def outstanding(self) -> int:
        """How many jobs are submitted and not done."""
        return len(self._jobs)

    @property
    def has_room(self) -> bool:
        """Whether the nodes can hold a further job."""
        return len(self._jobs) < self._nodes.capacity

    def submit(self, job: RolloutJob) -> None:
        """Put a job into the queue."""
        self._jobs[job.id] = job
        self._unsent.append(job)

    def _receive(self, most_s: float) -> list[Outcome]:
        """Wait for news, mend what they tell of, and return the outcomes that are complete."""
        wait_s = min(most_s, _COPY_WAIT_S if self._copies else _NEWS_WAIT_S)
        sent = {job.id: job for job in self._unsent if job.id in self._jobs}
        begin = time.monotonic()
        news = self._exchange(list(sent.values()), wait_s)
        # After a pause of the queue, all nodes seem to have been silent.
        paused = time.monotonic() - begin > wait_s + self._config.cluster.heartbeat_timeout_s / 2
        self._unsent = self._lost_with_queue(news.generation, sent)
        done: list[Outcome] = []
        for name, report in news.reports:
            done += self._hear(name, report)
        done += self._arrived()
        if not paused:
            done += self._look_after_nodes(news)
        self._renderers.watch()
        self._progress.report(news.nodes, self._renderers.news, len(self._jobs))
        return done

    def _lost_with_queue(self, generation: str, sent: Collection[str]) -> list[RolloutJob]:
        """Return the jobs that only the queue's last generation knew, if this is a new one."""
        if generation == self._generation:
            return []
        _log.warning("the queue was lost: its jobs are put into a new one")
        self._generation = generation
        return [job for job in self._jobs.values() if self._is_missing(job) and job.id not in sent]

    def _look_after_nodes(self, news: QueueNews) -> list[Outcome]:
        """Have lost nodes replaced, and return the outcomes of jobs that are given up with them."""
        done: list[Outcome] = []
        for lost in self._nodes.look_after(news.nodes):
            beat = news.nodes[lost.name].beat if lost.name in news.nodes else Beat()
            done += self._mourn(lost, beat.playing)
        for name, strange in news.nodes.items():
            if name not in self._nodes and strange.jobs:  # it was let go, and still takes jobs
                self._unsent += self._release(name)
        return done

    def _exchange(self, jobs: Sequence[RolloutJob], wait_s: float) -> QueueNews:
        """Put jobs into the queue, and return what it knows, for which one may have to wait."""
        texts = [JobMessage.of(job).model_dump_json() for job in jobs]
        return parse(QueueNews, cast(str, self._answer(self._queue.news.remote(texts, wait_s))))

    def _answer(self, reference: ray.ObjectRef) -> object:
        """Wait for the queue's answer; if it hangs it is started again, and then gives one."""
        limit_s = self._config.cluster.heartbeat_timeout_s + _RESTART_WITHIN_S
        while True:
            try:
                return ray.get(reference, timeout=limit_s)
            except GetTimeoutError:
                _log.warning("the queue was silent for %g s: it is started again", limit_s)
                ray.kill(self._queue, no_restart=False)

    def _hear(self, name: str, report: str) -> list[Outcome]:
        """Return the outcomes that follow from a node's report at once."""
        message = from_report(report)
        if isinstance(message, UserError):
            raise message
        self._nodes.hear(name, message)
        if isinstance(message, Ready):
            self._note_ready(name, message)
            return []
        if isinstance(message, Breakdown):
            return self._broken(message.job, message.reason)
        if not self._is_missing(message.job):
            return []  # another node has played it, too: the same bytes
        self._retries.works()
        self._progress.count(name)
        if message.record is None:
            return [self._done(message)]
        self._copies[self._storage.bring(message.record)] = message
        return []

    def _arrived(self) -> list[Outcome]:
        """Return the outcomes whose episodes are here; what arrived damaged is played again."""
        done: list[Outcome] = []
        for copy in [copy for copy in self._copies if copy.done()]:
            outcome = self._copies.pop(copy)
            try:
                copy.result()
            except DamagedError as error:
                done += self._broken(outcome.job, str(error))
                self._unsent.append(outcome.job)
            else:
                done.append(self._done(outcome))
        return done

    def _mourn(self, lost: Lost, playing: Collection[str]) -> list[Outcome]:
        """Put the jobs of a lost node back, and return those that are given up.

        What it said last that it was playing may be done: then it was the next ones.

        Raises:
            UserError: Nodes die before they are ready.
        """
        held = self._release(lost.name)
        self._unsent += held
        if lost.excused:
            return []
        blamed = [job for job in held if job.id in playing]
        blamed = blamed or held[: self._config.environments_per_worker] if lost.ready else []
        given_up = self._retries.lost(lost.name, lost.reason, blamed, ready=lost.ready)
        return [self._done(outcome) for outcome in given_up]

    def _release(self, name: str) -> Sequence[RolloutJob]:
        """Return the jobs that a node had, which the queue then forgets."""
        texts = cast(list[str], self._answer(self._queue.release.remote(name)))
        jobs = [parse(JobMessage, text).to_job() for text in texts]
        return [job for job in jobs if self._is_missing(job)]

    def _is_missing(self, job: RolloutJob) -> bool:
        """Return whether a job is neither done nor played and about to be copied here."""
        copied = (outcome.job.id for outcome in self._copies.values())
        return job.id in self._jobs and job.id not in copied

    def _broken(self, job: RolloutJob, reason: str) -> list[Outcome]:
        """Return the outcome of a job that broke down once too often, and nothing before that."""
        outcome = self._retries.broke_down(job, reason) if self._is_missing(job) else None
        return [self._done(outcome)] if outcome else []

    def _done(self, outcome: Outcome) -> Outcome:
        del self._jobs[outcome.job.id]
        return outcome

    def _stop(self) -> None:
        self._stack.close()

    def _dismiss(self) -> None:
        """End the nodes, giving those that play nothing the time to leave by themselves."""
        with suppress(RayError):
            ray.get(self._queue.close.remote(), timeout=_CLOSE_WITHIN_S)
        self._nodes.stop()

    def _order(self) -> RoundOrder:
        """Return what the nodes must know of the round."""
        student = self._config.student
        checkpoint = self._loaded.root / Path(student.checkpoint).expanduser() if student else None
        return RoundOrder.of(
            self._loaded,
            folder=self._storage.shared_folder,
            prefix=self._storage.prefix,
            student=self._storage.put_student(checkpoint) if checkpoint else None,
            renderers=[],
        )


def _new_queue(name: str) -> ActorHandle:
    """Return a queue on this machine, once its name is free."""
    deadline = time.monotonic() + _NAME_FREE_WITHIN_S
    while True:
        try:
            return start_named(TeacherQueue, name)
        except ValueError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"another runner uses the queue {name!r} of this cluster; wait for its end, "
                    "or choose another cluster.teacher_queue_name"
                ) from error
            time.sleep(0.5)
