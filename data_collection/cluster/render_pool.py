"""The runner's side of render nodes: they are started for a round, and watched."""

from __future__ import annotations

import logging
import time

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from data_collection.cluster.actors import start_named_node, text_of
from data_collection.cluster.messages import parse
from data_collection.cluster.news import RenderNews
from data_collection.cluster.render_node import RenderNode
from data_collection.schema import CollectConfig

_log = logging.getLogger(__name__)

RENDERER = "renderer"
"""The resource that a machine offers for each render node it can hold."""


class RenderNodes:
    """The render nodes of a round: as many as the cluster has room for when it starts.

    Rounds without generated images have none; without room for any, teacher nodes generate their
    pictures themselves.

    Args:
        config: The round's configuration.
    """

    def __init__(self, config: CollectConfig) -> None:
        self._cluster = config.cluster
        count = int(ray.cluster_resources().get(RENDERER, 0))
        wanted = config.render_mode == "generated"
        if wanted and not count:
            _log.info("no machine offers the resource %r: teacher nodes generate images", RENDERER)
        queue = config.cluster.teacher_queue_name
        self.names = [f"{queue}_{RENDERER}_{i}" for i in range(count if wanted else 0)]
        self.news: dict[str, RenderNews] = {}
        """What each node has done."""
        self._nodes: dict[str, ActorHandle] = {}
        self._asked: dict[str, tuple[ray.ObjectRef, float]] = {}

    def start(self, order: str) -> None:
        """Start the nodes; ``order`` is a ``RoundOrder`` as JSON."""
        for name in self.names:
            gpus = self._cluster.render.gpus
            self._nodes[name] = start_named_node(RenderNode, name, RENDERER, order, gpus=gpus)

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

    def _note(self, name: str, answer: ray.ObjectRef) -> None:
        del self._asked[name]
        try:
            self.news[name] = parse(RenderNews, text_of(answer))
        except RayError as error:
            _log.warning("%s: %s", name, error)
