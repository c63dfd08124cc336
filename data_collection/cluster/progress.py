"""How fast each node is, and what the cluster lacks."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from data_collection.cluster.teacher_queue import NodeNews

_log = logging.getLogger(__name__)

_MUCH = 0.3
"""A share of the time that is worth a hint."""


class Progress:
    """Counts the episodes of each node and says, every so often, what it makes of them.

    Args:
        every_s: Seconds between reports.
        clock: Seconds.
    """

    def __init__(self, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._began = clock()
        self._episodes: Counter[str] = Counter()
        self._before: Mapping[str, NodeNews] = {}

    def count(self, node: str) -> None:
        """Count an episode that a node has played."""
        self._episodes[node] += 1

    def report(self, nodes: Mapping[str, NodeNews], outstanding: int) -> None:
        """Log a line about the time since the last one, if that is long enough ago."""
        passed_s = self._clock() - self._began
        if passed_s < self._every_s:
            return
        rates = [
            f"{name} {60 * self._episodes[name] / passed_s:.1f}"
            for name in sorted(nodes.keys() | self._episodes.keys())
        ]
        _log.info("episodes a minute: %s; %d under way", ", ".join(rates) or "none", outstanding)
        spans = [
            (node.waited_s - before.waited_s, node.rendering_s - before.rendering_s)
            for name, node in nodes.items()
            if (before := self._before.get(name)) is not None
        ]
        if spans:
            waited, rendering = np.mean(spans, axis=0) / passed_s
            if hint := advice(waiting=waited, rendering=rendering, idle=0.0):
                _log.info("%s", hint)
        self._began, self._before = self._clock(), dict(nodes)
        self._episodes.clear()


def advice(*, waiting: float, rendering: float, idle: float) -> str | None:
    """Return what would make the round faster, if anything would.

    Args:
        waiting: Share of their time in which teacher nodes had no job.
        rendering: Share of their time in which teacher nodes waited for render nodes.
        idle: Share of their time in which render nodes had nothing to do.
    """
    if rendering > _MUCH:
        return f"teachers wait for pictures {rendering:.0%} of their time: add render nodes"
    if waiting > _MUCH:
        return f"teachers have no job {waiting:.0%} of their time: they are more than it takes"
    if idle > _MUCH:
        return f"render nodes have nothing to do {idle:.0%} of their time: add teacher nodes"
    return None
