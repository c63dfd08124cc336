"""How fast each node is, and what the cluster lacks."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from data_collection.cluster.news import RenderNews, TeacherNews

_log = logging.getLogger(__name__)

N = TypeVar("N")

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
        self._teachers: Mapping[str, TeacherNews] = {}
        self._renderers: Mapping[str, RenderNews] = {}

    def count(self, node: str) -> None:
        """Count an episode that a node has played."""
        self._episodes[node] += 1

    def report(
        self,
        teachers: Mapping[str, TeacherNews],
        renderers: Mapping[str, RenderNews],
        outstanding: int,
    ) -> None:
        """Log a line about the time since the last one, if that is long enough ago."""
        passed_s = self._clock() - self._began
        if passed_s < self._every_s:
            return
        names = sorted(teachers.keys() | self._episodes.keys())
        rates = [f"{name} {60 * self._episodes[name] / passed_s:.1f}" for name in names]
        _log.info("episodes a minute: %s; %d under way", ", ".join(rates) or "none", outstanding)
        drawn = [
            f"{name} {60 * (now.pictures - before.pictures) / passed_s:.0f}"
            for name, before, now in _both(self._renderers, renderers)
        ]
        if drawn:
            _log.info("pictures a minute: %s", ", ".join(drawn))
        beats = [(old.beat, new.beat) for _, old, new in _both(self._teachers, teachers)]
        works = [(old, new) for _, old, new in _both(self._renderers, renderers)]
        hint = advice(
            waiting=_mean(new.waited_s - old.waited_s for old, new in beats) / passed_s,
            rendering=_mean(new.rendering_s - old.rendering_s for old, new in beats) / passed_s,
            idle=_mean(passed_s - (new.busy_s - old.busy_s) for old, new in works) / passed_s,
        )
        if hint:
            _log.info("%s", hint)
        self._began, self._teachers, self._renderers = (
            self._clock(),
            dict(teachers),
            dict(renderers),
        )
        self._episodes.clear()


def _both(before: Mapping[str, N], now: Mapping[str, N]) -> list[tuple[str, N, N]]:
    """Return the news of the nodes that are in both reports."""
    return [(name, before[name], now[name]) for name in sorted(before.keys() & now.keys())]


def _mean(seconds: Iterable[float]) -> float:
    values = list(seconds)
    return sum(values) / len(values) if values else 0.0


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
