"""The teacher nodes of a round: hired where there is room, watched, let go."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from data_collection.cluster.actors import start_node
from data_collection.cluster.news import TeacherNews
from data_collection.cluster.teacher_node import TeacherNode
from data_collection.player import Breakdown, Message, Outcome, Ready, capacity
from data_collection.schema import CollectConfig
from trainer.errors import UserError

_log = logging.getLogger(__name__)

TEACHER = "teacher"
"""The resource that a machine offers for each teacher node it can hold."""

_JOBS_EACH = 2
"""For each one that a node can hold: while others wait in the queue the runner need not hurry."""
_HIRE_EVERY_S = 2.0
_END_WITHIN_S = 5.0
_ANSWER_WITHIN_S = 2.0
"""Of a machine that is asked whether it is there."""


@dataclass
class _Node:
    actor: ActorHandle
    life: ray.ObjectRef
    """Ends with the node."""
    attempt: int
    """At having nodes that get ready; those that were hired together are one."""
    hired: float = field(default_factory=time.monotonic)
    heard: float | None = None
    """When it was first heard of."""
    unknown: float | None = None
    """Since when the queue, a new one, has not heard of it."""
    machine: str = ""
    ready: bool = False
    broke_down: bool = False
    """Whether it says itself why it ends, and of which job."""

    def note(self, news: TeacherNews | None) -> None:
        now = time.monotonic()
        if news is None:
            self.unknown = self.unknown or now
        else:
            self.heard, self.unknown = self.heard or now, None
            self.machine = news.beat.machine


@dataclass(frozen=True)
class Lost:
    """A node that is no more."""

    name: str
    reason: str
    ready: bool
    """Whether it had built what it plays with."""
    excused: bool
    """Whether neither it nor its jobs are to blame."""


class TeacherNodes:
    """As many nodes as the cluster has room for, at most ``workers`` of the configuration.

    Args:
        config: The round's configuration.
    """

    def __init__(self, config: CollectConfig) -> None:
        self._config = config
        self._order = ""
        self._nodes: dict[str, _Node] = {}
        self._hired = 0
        self._attempt = 0
        self._looked_at = 0.0
        self._told = time.monotonic()

    @property
    def capacity(self) -> int:
        """How many jobs may be under way: those that nodes hold, and as many that wait for them.

        Before any node was heard of, those of one.
        """
        heard = [node for node in self._nodes.values() if node.heard is not None]
        return _JOBS_EACH * max(1, len(heard)) * capacity(self._config)

    def __contains__(self, name: str) -> bool:
        """Return whether this is one of the nodes."""
        return name in self._nodes

    def hire(self, order: str) -> None:
        """Start the first nodes; machines that join later are used.

        Args:
            order: What they must know of the round: a ``RoundOrder`` as JSON.

        Raises:
            UserError: No machine has room for any.
        """
        self._order = order
        self._hire()
        if not self._nodes:
            raise UserError(
                "the cluster has no room for a teacher node: no machine offers the resource "
                f"{TEACHER!r}; start one with python -m data_collection.cluster.launch --teachers N"
            )

    def _hire(self) -> None:
        """Start nodes where there is room."""
        self._looked_at = time.monotonic()
        room = int(ray.cluster_resources().get(TEACHER, 0))
        wanted = min(room, self._config.workers or room, self._config.episodes)
        for _ in range(wanted - len(self._nodes)):
            name = f"{TEACHER}_{self._hired}"
            self._hired += 1
            actor = start_node(TeacherNode, TEACHER, name, self._order)
            self._nodes[name] = _Node(actor, actor.play.remote(), self._attempt)

    def hear(self, name: str, message: Message) -> None:
        """Note what a node's report tells of the node."""
        if node := self._nodes.get(name):
            node.ready = node.ready or isinstance(message, Ready | Outcome)
            node.broke_down = node.broke_down or isinstance(message, Breakdown)

    def look_after(self, news: Mapping[str, TeacherNews]) -> list[Lost]:
        """Let nodes go that have ended or hang, hire others for them, and return the lost ones."""
        lives = [node.life for node in self._nodes.values()]
        ended, _ = ray.wait(lives, num_returns=len(lives), timeout=0)
        lost = []
        for name, node in list(self._nodes.items()):
            node.note(news.get(name))
            died = _death(node.life) if node.life in ended else None
            # A node that ends by itself has reported why, though the report may not be here yet.
            by_itself = node.life in ended and died is None
            reason = died or self._hangs(node, news.get(name))
            if reason is not None or by_itself:
                ray.kill(node.actor)
                del self._nodes[name]
                told = (by_itself and node.ready) or node.broke_down
                unheard = node.heard is None and not (died or by_itself)
                if unheard:
                    _log.info("%s was %s: another one takes its place", name, reason)
                excused = told or unheard or self._is_excused(name, node, reason or "")
                lost.append(
                    Lost(name, reason or "it has ended without a word", node.ready, excused)
                )
        if lost or time.monotonic() - self._looked_at > _HIRE_EVERY_S:
            self._hire()
            self._tell()
        return lost

    def stop(self) -> None:
        """End all nodes: those that the closed queue has not ended shortly are killed."""
        lives = [node.life for node in self._nodes.values()]
        if lives:
            ray.wait(lives, num_returns=len(lives), timeout=_END_WITHIN_S)
        for node in self._nodes.values():
            ray.kill(node.actor)

    def _tell(self) -> None:
        """Say, every so often, why there is no node yet."""
        if any(node.heard is not None for node in self._nodes.values()):
            return
        if time.monotonic() - self._told > self._config.cluster.report_every_s:
            self._told = time.monotonic()
            offered = int(ray.cluster_resources().get(TEACHER, 0))
            used = offered - int(ray.available_resources().get(TEACHER, 0))
            _log.info("waiting for room: %d of %d teacher units are in use", used, offered)

    def _is_excused(self, name: str, node: _Node, reason: str) -> bool:
        """Return whether a dead node's machine is gone, or other nodes show that nodes can work.

        Of those that were hired together and do not get ready, one is enough to tell.
        """
        gone = not _answers(node.machine)
        others = any(other.ready for other in self._nodes.values())
        if gone or (not node.ready and (others or node.attempt < self._attempt)):
            whose = "with its machine" if gone else "before it was ready"
            _log.warning("%s is lost %s: %s", name, whose, reason)
            return True
        self._attempt += not node.ready
        return False

    def _hangs(self, node: _Node, news: TeacherNews | None) -> str | None:
        """Return how a node hangs, None when it does not."""
        cluster, now = self._config.cluster, time.monotonic()
        if node.heard is None:  # it waits for room, or hangs before it can say a word
            if now - node.hired > cluster.start_timeout_s:
                return f"not heard of for {cluster.start_timeout_s:g} s (start_timeout_s)"
            return None
        silent_s = news.silent_s if news else now - (node.unknown or now)
        if silent_s > cluster.heartbeat_timeout_s:
            return f"a node was silent for {cluster.heartbeat_timeout_s:g} s (heartbeat_timeout_s)"
        if not node.ready and now - node.heard > cluster.start_timeout_s:
            return f"a node was not ready after {cluster.start_timeout_s:g} s (start_timeout_s)"
        if news and news.playing_s > cluster.job_timeout_s:
            return f"a rollout took over {cluster.job_timeout_s:g} s (job_timeout_s)"
        return None


def _answers(machine: str) -> bool:
    """Return whether a machine is still part of the cluster, and really there."""
    for node in ray.nodes():
        if node["NodeID"] == machine:
            address = node["NodeManagerAddress"], node["NodeManagerPort"]
            try:
                socket.create_connection(address, timeout=_ANSWER_WITHIN_S).close()
            except OSError:  # Ray notices a while later
                return False
            return node["Alive"]
    return True  # a node that died before it could say where it was


def _death(life: ray.ObjectRef) -> str | None:
    """Return what a node that is no more has died of, None when it has ended by itself."""
    try:
        ray.get(life)
    except RayError as error:
        return str(error).strip()
    return None
