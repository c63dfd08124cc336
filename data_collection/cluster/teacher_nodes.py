"""The teacher nodes of a round: hired where there is room, watched, let go."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from data_collection.cluster.actors import start_node
from data_collection.cluster.news import TeacherNews
from data_collection.cluster.teacher_node import TeacherNode
from data_collection.player import capacity
from data_collection.schema import CollectConfig
from trainer.errors import UserError

_log = logging.getLogger(__name__)

TEACHER = "teacher"
"""The resource that a machine offers for each teacher node it can hold."""

_HIRE_EVERY_S = 2.0
_END_WITHIN_S = 5.0


@dataclass
class _Node:
    actor: ActorHandle
    life: ray.ObjectRef
    """Ends with the node."""
    heard: bool = False
    broke_down: bool = False


@dataclass(frozen=True)
class Lost:
    """A node that is no more."""

    name: str
    reason: str
    broke_down: bool
    """Whether it says itself why, and of which job."""


class TeacherNodes:
    """As many nodes as the cluster has room for, at most ``workers`` of the configuration.

    Args:
        config: The round's configuration.
        order: What they must know of it: a ``RoundOrder`` as JSON.
    """

    def __init__(self, config: CollectConfig, order: str) -> None:
        self._config = config
        self._order = order
        self._nodes: dict[str, _Node] = {}
        self._hired = 0
        self._looked_at = 0.0

    @property
    def capacity(self) -> int:
        """How many jobs they can hold; that of one node before any was heard of."""
        heard = sum(node.heard for node in self._nodes.values())
        return max(1, heard) * capacity(self._config)

    def __contains__(self, name: str) -> bool:
        """Return whether this is one of the nodes."""
        return name in self._nodes

    def hire(self) -> None:
        """Start nodes where there is room; machines that join later are used.

        Raises:
            UserError: No machine has room for any.
        """
        self._looked_at = time.monotonic()
        room = int(ray.cluster_resources().get(TEACHER, 0))
        wanted = min(room, self._config.workers or room, self._config.episodes)
        for _ in range(wanted - len(self._nodes)):
            name = f"{TEACHER}_{self._hired}"
            self._hired += 1
            actor = start_node(TeacherNode, TEACHER, name, self._order)
            self._nodes[name] = _Node(actor, actor.play.remote())
        if not self._nodes:
            raise UserError(
                "the cluster has no room for a teacher node: no machine offers the resource "
                f"{TEACHER!r}; start one with python -m data_collection.cluster.launch --teachers N"
            )

    def note_breakdown(self, name: str) -> None:
        """Note that a node has said of which job it breaks down."""
        if node := self._nodes.get(name):
            node.broke_down = True

    def look_after(self, news: Mapping[str, TeacherNews]) -> list[Lost]:
        """Let nodes go that have ended or hang, hire others for them, and return the lost ones."""
        lives = [node.life for node in self._nodes.values()]
        ended, _ = ray.wait(lives, num_returns=len(lives), timeout=0)
        lost = []
        for name, node in list(self._nodes.items()):
            node.heard = node.heard or name in news
            died = _death(node.life) if node.life in ended else None
            # A node that ends by itself has reported why, though the report may not be here yet.
            by_itself = node.life in ended and died is None
            reason = died or self._hangs(news.get(name))
            if reason is not None or by_itself:
                ray.kill(node.actor)
                del self._nodes[name]
                told = by_itself or node.broke_down
                lost.append(Lost(name, reason or "it has ended", told))
        if lost or time.monotonic() - self._looked_at > _HIRE_EVERY_S:
            self.hire()
        return lost

    def stop(self) -> None:
        """End all nodes: those that the closed queue has not ended shortly are killed."""
        lives = [node.life for node in self._nodes.values()]
        if lives:
            ray.wait(lives, num_returns=len(lives), timeout=_END_WITHIN_S)
        for node in self._nodes.values():
            ray.kill(node.actor)

    def _hangs(self, news: TeacherNews | None) -> str | None:
        """Return how a node hangs, None when it does not."""
        cluster = self._config.cluster
        if news is None:
            return None
        if news.silent_s > cluster.heartbeat_timeout_s:
            return f"a node was silent for {news.silent_s:.0f} s (heartbeat_timeout_s)"
        if news.playing_s > cluster.job_timeout_s:
            return f"a rollout took over {news.playing_s:.0f} s (job_timeout_s)"
        return None


def _death(life: ray.ObjectRef) -> str | None:
    """Return what a node that is no more has died of, None when it has ended by itself."""
    try:
        ray.get(life)
    except RayError as error:
        return str(error).strip()
    return None
