"""The runner's side of a round on a cluster: teacher nodes are hired, watched and replaced."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from data_collection.cluster.actors import start_node, start_service, text_of
from data_collection.cluster.messages import JobMessage, RoundOrder, from_report, parse
from data_collection.cluster.progress import Progress
from data_collection.cluster.storage import Storage
from data_collection.cluster.teacher_node import TeacherNode, capacity
from data_collection.cluster.teacher_queue import News, NodeNews, TeacherQueue
from data_collection.episodes.writer import EPISODES, episode_path
from data_collection.player import Breakdown, Outcome, Ready
from data_collection.retries import Retries
from data_collection.schema import CollectConfig
from trainer.config import Loaded
from trainer.errors import UserError
from trainer.files import write_text_atomically
from trainer.rollout import RolloutJob

_log = logging.getLogger(__name__)

TEACHER = "teacher"
"""The resource that a machine offers for each teacher node it can hold."""

_DEATHS_IN_A_ROW = 3
_NEWS_WAIT_S = 0.5
_FETCH_WAIT_S = 0.02
"""Between looks at copies that are under way."""
_HIRE_EVERY_S = 2.0
_END_WITHIN_S = 5.0
_NAME_FREE_WITHIN_S = 60.0
"""A runner that was killed keeps its queue's name until the cluster has noticed."""
_STORAGE_KEY = ".storage"
"""File of a round's folder: under which name its episodes are in the storage."""


@dataclass
class _Node:
    actor: ActorHandle
    life: ray.ObjectRef
    """Ends with the node."""
    heard: bool = False
    broke_down: bool = False
    """Whether it has said so itself, and of which job."""


class RayPool:
    """Teacher nodes on a cluster that take jobs from a queue, and report outcomes.

    As many nodes as the cluster has room for, at most ``workers`` of the configuration; machines
    that join later are used. A node that dies or hangs is replaced, and its jobs go back to the
    queue; a job with which nodes break down more than ``max_retries`` times is given up. Use it
    as a context manager; on entering, ``recorded`` becomes what the nodes say about their
    environment, and ``longest`` the steps of its longest possible episode.

    Args:
        loaded: The round's configuration.
        folder: Of the round. Episodes that only the storage has are brought there on entering,
            those that are played later before their outcome is returned.

    Raises:
        UserError: On entering, when there is no room for a teacher node, or the environment or
            the teacher cannot be built.
    """

    def __init__(self, loaded: Loaded[CollectConfig], folder: Path) -> None:
        self._loaded = loaded
        self._config = loaded.config
        self._cluster = loaded.config.cluster
        self._folder = folder
        self._storage = Storage(self._cluster.storage) if self._cluster.storage else None
        self._prefix = ""
        self._capacity = capacity(loaded.config)
        self._retries = Retries(loaded.config.max_retries)
        self._progress = Progress(self._cluster.report_every_s)
        self._nodes: dict[str, _Node] = {}
        self._hired = 0
        self._hired_at = 0.0
        self._deaths = 0
        self._jobs: dict[str, RolloutJob] = {}
        self._unsent: list[str] = []
        self._fetches: dict[Future[None], Outcome] = {}
        self._copiers = ThreadPoolExecutor(self._cluster.transfers, "episode-copy")
        self.recorded: dict[str, object] = {}
        self.longest = 0

    def __enter__(self) -> RayPool:
        self._queue = _new_queue(self._cluster.teacher_queue_name)
        try:
            self._generation = text_of(self._queue.put.remote([]))
            student = self._bring_student()
            self._order = RoundOrder.of(
                self._loaded,
                folder=None if self._storage else str(self._folder.absolute()),
                prefix=self._claim_prefix(),
                student=student,
                renderers=(),
            ).model_dump_json()
            self._adopt_from_storage()
            self._hire()
            if not self._nodes:
                raise UserError(
                    "the cluster has no room for a teacher node: no machine offers the resource "
                    f"{TEACHER!r}; start one with python -m data_collection.cluster.launch "
                    "--teachers N"
                )
            while not self.recorded:
                self._receive(_NEWS_WAIT_S)
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
        return len(self._jobs)

    @property
    def has_room(self) -> bool:
        """Whether the nodes can hold a further job."""
        nodes = sum(node.heard for node in self._nodes.values())
        return len(self._jobs) < max(1, nodes) * self._capacity

    def submit(self, job: RolloutJob) -> None:
        """Put a job into the queue."""
        self._jobs[job.id] = job
        self._unsent.append(JobMessage.of(job).model_dump_json())

    def outcomes(self, timeout_s: float) -> list[Outcome]:
        """Wait, then return what is done: nothing only when ``timeout_s`` seconds went by.

        Raises:
            UserError: A node reports one, or nodes keep dying.
        """
        deadline = time.monotonic() + timeout_s
        done: list[Outcome] = []
        while not done and (left_s := deadline - time.monotonic()) > 0:
            done = self._receive(min(left_s, _FETCH_WAIT_S if self._fetches else _NEWS_WAIT_S))
        return done

    # ---- what the nodes say ----------------------------------------------------------------------

    def _receive(self, wait_s: float) -> list[Outcome]:
        """Wait for news, mend what they tell of, and return the outcomes that are complete."""
        self._send()
        news = parse(News, text_of(self._queue.news.remote(wait_s)))
        if news.generation != self._generation:
            _log.warning("the queue was lost; the jobs are put into a new one")
            self._generation = news.generation
            self._unsent = [JobMessage.of(job).model_dump_json() for job in self._jobs.values()]
        done: list[Outcome] = []
        for name, report in news.reports:
            done += self._hear(name, report)
        done += self._fetched()
        done += self._watch(news.nodes)
        if time.monotonic() - self._hired_at > _HIRE_EVERY_S:
            self._hire()
        self._progress.report(news.nodes, len(self._jobs))
        return done

    def _send(self) -> None:
        if self._unsent:
            jobs, self._unsent = self._unsent, []
            generation = text_of(self._queue.put.remote(jobs))
            if generation != self._generation:
                self._unsent = jobs  # the news will tell, and everything is put again

    def _hear(self, name: str, report: str) -> list[Outcome]:
        """Return the outcomes that follow from a node's report at once."""
        message = from_report(report)
        if isinstance(message, UserError):
            raise message
        if isinstance(message, Ready):
            self.recorded, self.longest = message.recorded, message.longest
            return []
        if isinstance(message, Breakdown):
            if node := self._nodes.get(name):
                node.broke_down = True
            return self._broken(message.job, message.reason)
        if message.job.id not in self._jobs:
            return []  # another node has played it, too: the same bytes
        self._deaths = 0
        self._progress.count(name)
        if message.record is None:
            return [self._done(message)]
        if self._storage is None:
            self._check_arrived(message.record.id, message.record.bytes)
            return [self._done(message)]
        if message.job.id not in {outcome.job.id for outcome in self._fetches.values()}:
            self._fetches[self._fetch(message.record.id, message.record.file_sha256)] = message
        return []

    def _fetched(self) -> list[Outcome]:
        """Return the outcomes whose episodes have arrived."""
        arrived = [future for future in self._fetches if future.done()]
        done = []
        for future in arrived:
            outcome = self._fetches.pop(future)
            future.result()
            done.append(self._done(outcome))
        return done

    def _fetch(self, rollout_id: str, sha256: str | None) -> Future[None]:
        target = episode_path(self._folder, rollout_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._storage is None:
            raise ValueError("there is no storage to bring episodes from")
        key = f"{self._prefix}/{EPISODES}/{target.name}"
        return self._copiers.submit(self._storage.get, key, target, sha256)

    def _done(self, outcome: Outcome) -> Outcome:
        del self._jobs[outcome.job.id]
        return outcome

    def _check_arrived(self, rollout_id: str, size: int) -> None:
        path = episode_path(self._folder, rollout_id)
        if not path.is_file() or path.stat().st_size != size:
            raise UserError(
                f"{path}: a teacher node has written this episode, but it is not here; give "
                "cluster.storage, or a folder that all machines share under the same path"
            )

    # ---- nodes -----------------------------------------------------------------------------------

    def _hire(self) -> None:
        """Start as many nodes as the cluster has room for."""
        self._hired_at = time.monotonic()
        room = int(ray.cluster_resources().get(TEACHER, 0))
        wanted = min(room, self._config.workers or room, self._config.episodes)
        for _ in range(wanted - len(self._nodes)):
            name = f"{TEACHER}_{self._hired}"
            self._hired += 1
            actor = start_node(TeacherNode, TEACHER, name, self._order)
            self._nodes[name] = _Node(actor, actor.play.remote())

    def _watch(self, news: dict[str, NodeNews]) -> list[Outcome]:
        """Replace nodes that have ended or hang; return the outcomes of jobs given up with it."""
        done: list[Outcome] = []
        ended, _ = ray.wait(
            [node.life for node in self._nodes.values()], num_returns=len(self._nodes), timeout=0
        )
        for name, node in list(self._nodes.items()):
            heard = news.get(name)
            node.heard = node.heard or heard is not None
            if node.life in ended:
                done += self._replace(name, _why(node.life))
            elif heard is not None and heard.silent_s > self._cluster.heartbeat_timeout_s:
                done += self._replace(name, f"a node was silent for {heard.silent_s:.0f} s")
            elif heard is not None and heard.playing_s > self._cluster.job_timeout_s:
                done += self._replace(name, f"a rollout took over {heard.playing_s:.0f} s")
        for name, strange in news.items():
            if name not in self._nodes and strange.jobs:
                self._put_again(self._release(name))  # a node that was given up still takes jobs
        return done

    def _replace(self, name: str, reason: str) -> list[Outcome]:
        """Put the jobs of a lost node back, and return those that are given up.

        Raises:
            UserError: Nodes die before they play anything.
        """
        node = self._nodes.pop(name)
        ray.kill(node.actor)
        held = self._release(name)
        done: list[Outcome] = []
        if not node.broke_down:
            playing = held[: self._config.environments_per_worker]
            self._deaths += not playing
            if self._deaths >= _DEATHS_IN_A_ROW:
                raise UserError(f"{reason}; it had played nothing, the third in a row")
            _log.warning(
                "%s is lost: %s; it played %s",
                name,
                reason,
                ", ".join(j.id for j in playing) or "-",
            )
            for job in playing:
                done += self._broken(job, reason)
        self._put_again(held)
        self._hire()
        return done

    def _release(self, name: str) -> list[RolloutJob]:
        texts: list[str] = ray.get(self._queue.release.remote(name))
        jobs = [parse(JobMessage, text).to_job() for text in texts]
        return [job for job in jobs if job.id in self._jobs]

    def _put_again(self, jobs: Sequence[RolloutJob]) -> None:
        again = [job for job in jobs if job.id in self._jobs]
        self._unsent += [JobMessage.of(job).model_dump_json() for job in again]

    def _broken(self, job: RolloutJob, reason: str) -> list[Outcome]:
        """Return the outcome of a job that broke down once too often, and nothing before that."""
        outcome = self._retries.broke_down(job, reason) if job.id in self._jobs else None
        return [self._done(outcome)] if outcome else []

    def _stop(self) -> None:
        for node in self._nodes.values():
            ray.kill(node.actor)
        if self._nodes:  # a node without its queue complains
            lives = [node.life for node in self._nodes.values()]
            ray.wait(lives, num_returns=len(lives), timeout=_END_WITHIN_S)
        ray.kill(self._queue)
        self._copiers.shutdown(cancel_futures=True)

    # ---- the storage -----------------------------------------------------------------------------

    def _claim_prefix(self) -> str:
        """Return under which name the storage has the round, the same at every start of it.

        A round that is begun afresh gets another name, so that it never finds old episodes.
        """
        path = self._folder / _STORAGE_KEY
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomically(path, f"{self._folder.name}-{secrets.token_hex(8)}\n")
        self._prefix = path.read_text().strip()
        return self._prefix

    def _adopt_from_storage(self) -> None:
        """Bring what the storage has and this machine has not: a runner was killed before it could.

        Whoever opens the round checks these episodes before they are entered.
        """
        if self._storage is None:
            return
        names = self._storage.sizes(f"{self._prefix}/{EPISODES}")
        folder = self._folder / EPISODES
        missing = [Path(name).stem for name in names if not (folder / name).exists()]
        for copy in [self._fetch(rollout_id, None) for rollout_id in missing]:
            copy.result()

    def _bring_student(self) -> str | None:
        """Return where in the storage the student's checkpoint is, having brought it there."""
        student = self._config.student
        if self._storage is None or student is None:
            return None
        from trainer.checkpoint import resolve_checkpoint  # needs torch

        checkpoint = resolve_checkpoint(self._loaded.root / Path(student.checkpoint).expanduser())
        prefix = f"checkpoints/{checkpoint.weights_sha256}"
        self._storage.put_folder(checkpoint.folder, prefix)
        return prefix


def _new_queue(name: str) -> ActorHandle:
    """Return a queue on this machine, once its name is free."""
    deadline = time.monotonic() + _NAME_FREE_WITHIN_S
    while True:
        try:
            return start_service(TeacherQueue, name)
        except ValueError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"another runner uses the queue {name!r} of this cluster; wait for its end, "
                    "or choose another cluster.teacher_queue_name"
                ) from error
            time.sleep(0.5)


def _why(life: ray.ObjectRef) -> str:
    """Return why a node has ended."""
    try:
        ray.get(life)
    except RayError as error:
        return str(error).strip()
    return "a node ended"
