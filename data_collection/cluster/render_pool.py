"""The runner's side of render nodes: they are started for a round, and watched."""

from __future__ import annotations

import logging
import time
from typing import cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from data_collection.cluster.actors import start_named, text_of
from data_collection.cluster.messages import from_report, parse
from data_collection.cluster.news import RenderNews
from data_collection.cluster.render_node import RenderNode
from data_collection.schema import CollectConfig
from trainer.errors import UserError

_log = logging.getLogger(__name__)

RENDERER = "renderer"
"""The resource that a machine offers for each render node it can hold."""


_LOOK_S = 0.5
_FREE_WITHIN_S = 5.0
"""What the nodes of the last round took is free a moment after its end."""


class RenderNodes:
    """The render nodes of a round: as many as the cluster has room for when it starts.

    Rounds without generated images have none; without room for any, teacher nodes generate their
    pictures themselves.

    Args:
        config: The round's configuration.
    """

    def __init__(self, config: CollectConfig) -> None:
        self._cluster = config.cluster
        self._wanted = config.render_mode == "generated"
        self.news: dict[str, RenderNews] = {}
        """What each node has done."""
        self._nodes: dict[str, ActorHandle] = {}
        self._others = 0
        """Units that other runners have."""
        self._asked: dict[str, tuple[ray.ObjectRef, float]] = {}
        self._lost: set[str] = set()

    def start(self, order: str) -> list[str]:
        """Start the nodes, and return the names of those that are ready to be asked.

        Args:
            order: A ``RoundOrder`` as JSON.

        Raises:
            UserError: The generator cannot be built.
        """
        queue, gpus = self._cluster.teacher_queue_name, self._cluster.render.gpus
        room = _room() if self._wanted else 0
        self._others = _offered() - room
        for i in range(room):
            name = f"{queue}_{RENDERER}_{i}"
            self._nodes[name] = start_named(RenderNode, name, order, resource=RENDERER, gpus=gpus)
        self._wait_until_ready()
        if self._wanted and not self._nodes:
            _log.warning("there is no render node: teacher nodes generate images")
        return list(self._nodes)

    def watch(self) -> None:
        """Note what the nodes have done; one that does not answer is started again."""
        now = time.monotonic()
        for name, node in self._nodes.items():
            answer, since = self._asked.get(name, (None, 0.0))
            if answer is not None and ray.wait([answer], timeout=0)[0]:
                self._note(name, answer)
                answer = None
            if answer is None and now - since > self._cluster.heartbeat_s:
                self._asked[name] = (node.news.remote(), now)
            elif answer is not None and now - since > self._cluster.heartbeat_timeout_s:
                _log.warning("%s was silent for %.0f s: it is started again", name, now - since)
                ray.kill(node, no_restart=False)
                del self._asked[name]

    def stop(self) -> None:
        """End the nodes."""
        for node in self._nodes.values():
            ray.kill(node)

    def _wait_until_ready(self) -> None:
        """Leave the nodes out that do not get ready in time, or that no machine is left for."""
        answers: dict[ray.ObjectRef, str] = {
            node.ready.remote(): name for name, node in self._nodes.items()
        }
        deadline = time.monotonic() + self._cluster.start_timeout_s
        told = time.monotonic()
        while answers and time.monotonic() < deadline:
            for answer in ray.wait(list(answers), timeout=_LOOK_S)[0]:
                self._welcome(answers.pop(answer), answer)
            # Those of a lost machine are counted as room until the cluster has noticed.
            while answers and len(self._nodes) > _offered() - self._others:
                _, name = answers.popitem()
                self._leave_out(name, "there is no machine for it any more")
            if time.monotonic() - told > self._cluster.report_every_s:
                told = time.monotonic()
                _log.info("waiting for render nodes: %s", ", ".join(answers.values()))
        for name in answers.values():
            self._leave_out(name, f"{self._cluster.start_timeout_s:g} s went by (start_timeout_s)")

    def _welcome(self, name: str, answer: ray.ObjectRef) -> None:
        """Leave a node out that did not get ready; raise UserError if that can be mended."""
        try:
            report = cast(str | None, ray.get(answer))
        except RayError as error:
            self._leave_out(name, str(error))
            return
        if report is not None and isinstance(error := from_report(report), UserError):
            raise error

    def _leave_out(self, name: str, why: str) -> None:
        _log.warning("%s is not ready, the round goes on without it: %s", name, why)
        ray.kill(self._nodes.pop(name))

    def _note(self, name: str, answer: ray.ObjectRef) -> None:
        try:
            self.news[name] = parse(RenderNews, text_of(answer))
            self._lost.discard(name)
        except RayError as error:
            if name in self._lost:
                return
            self._lost.add(name)
            _log.warning("%s is lost, it is started again: %s", name, error)
            if len(self._lost) == len(self._nodes):
                _log.warning(
                    "no render node is left: teacher nodes wait %g s (render.timeout_s), then "
                    "generate images until there is one again",
                    self._cluster.render.timeout_s,
                )


def _room() -> int:
    """Return how many nodes there is room for."""
    deadline = time.monotonic() + _FREE_WITHIN_S
    offered = _offered()
    while (free := int(ray.available_resources().get(RENDERER, 0))) < offered:
        if time.monotonic() > deadline:
            _log.warning(
                "%d of %d render nodes are free, others belong to another runner", free, offered
            )
            return free
        time.sleep(_LOOK_S)
    return offered


def _offered() -> int:
    """Return how many nodes the machines could hold if none was there."""
    return int(ray.cluster_resources().get(RENDERER, 0))
