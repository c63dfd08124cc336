"""The runner's queue: jobs go out to teacher nodes, reports come back.

It lives in an actor of its own, so that nodes find it by name. It remembers who has which job and
when a node was last heard of; what follows from that is the runner's to decide. It may be lost at
any moment: the runner knows all of its jobs, and puts them into the next one.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from data_collection.cluster.messages import JobMessage, parse
from data_collection.cluster.news import Beat, Given, QueueNews, TeacherNews, Told


@dataclass
class _Node:
    heard: float
    jobs: dict[str, str] = field(default_factory=dict)
    """Taken and not reported, oldest first: JSON by id."""
    held: frozenset[str] = frozenset()
    """Ids of those that it says it has; a queue before this one may have handed them out."""
    since: float = 0.0
    beat: Beat = field(default_factory=Beat)


class TeacherQueue:
    """Hands jobs out, collects reports.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._generation = uuid.uuid4().hex
        self._waiting: dict[str, str] = {}
        """JSON by id, in the order in which they go out."""
        self._closed = False
        self._nodes: dict[str, _Node] = {}
        self._reports: list[tuple[str, str]] = []
        self._changed = asyncio.Condition()

    async def exchange(self, name: str, told: str) -> str:
        """Hear ``Told`` from a node, and return ``Given``, both as JSON.

        Jobs that the node should have, too, got lost on their way: they go out again.
        """
        heard = parse(Told, told)
        node = self._heard(name)
        node.beat, node.held = heard.beat, frozenset(heard.held)
        async with self._changed:
            self._end(heard.done, node)
            self._reports += [(name, report) for report in heard.reports]
            lost = [job for job in node.jobs if job not in node.held]
            self._waiting |= {job: node.jobs.pop(job) for job in lost}
            self._leave_to(node)
            self._changed.notify_all()
            if heard.room:
                await self._until(lambda: bool(self._waiting) or self._closed, heard.wait_s)
            jobs = [] if self._closed else self._share(heard.room, self._heard(name))
            self._changed.notify_all()
        given = Given(generation=self._generation, jobs=jobs, closed=self._closed)
        return given.model_dump_json()

    async def close(self) -> None:
        """Hand out no more jobs: nodes that have none end."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def news(self, jobs: Sequence[str], wait_s: float) -> str:
        """Append jobs; return ``QueueNews`` as JSON, for which one may have to wait.

        There is time for more reports to come as long as jobs wait here: nobody lacks any. After
        ``wait_s`` seconds there is none.
        """
        async with self._changed:
            self._waiting |= {parse(JobMessage, job).id: job for job in jobs}
            for node in self._nodes.values():
                self._leave_to(node)
            self._changed.notify_all()
            await self._until(lambda: bool(self._reports) and not self._waiting, wait_s)
            reports, self._reports = self._reports, []
        now = self._clock()
        nodes = {
            name: TeacherNews(
                silent_s=now - node.heard,
                playing_s=now - node.since if node.jobs else 0.0,
                jobs=len(node.jobs),
                beat=node.beat,
            )
            for name, node in self._nodes.items()
        }
        news = QueueNews(generation=self._generation, reports=reports, nodes=nodes)
        return news.model_dump_json()

    async def release(self, name: str) -> list[str]:
        """Forget a node, and return the jobs that it had, in the order in which it took them."""
        node = self._nodes.pop(name, None)
        return list(node.jobs.values()) if node else []

    def _heard(self, name: str) -> _Node:
        node = self._nodes.setdefault(name, _Node(self._clock()))
        node.heard = self._clock()
        return node

    def _end(self, done: Sequence[str], node: _Node) -> None:
        """Forget the jobs that a node has done."""
        for job in done:
            node.jobs.pop(job, None)
            self._waiting.pop(job, None)
            node.since = self._clock()

    def _share(self, most: int, node: _Node) -> list[str]:
        """Hand out what a node may have, so that none has to wait for what another one holds."""
        share = -(-len(self._waiting) // len(self._nodes))
        return self._hand_out(list(self._waiting)[: min(most, share)], node)

    def _leave_to(self, node: _Node) -> None:
        """Count waiting jobs that a node has already as handed out to it."""
        self._hand_out([job for job in node.held if job in self._waiting], node)

    def _hand_out(self, ids: Sequence[str], node: _Node) -> list[str]:
        if not node.jobs:
            node.since = self._clock()
        jobs = {job: self._waiting.pop(job) for job in ids}
        node.jobs |= jobs
        return list(jobs.values())

    async def _until(self, true: Callable[[], bool], wait_s: float) -> None:
        """Wait until something is true, or ``wait_s`` seconds went by."""
        if wait_s and not true():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait_for(true), wait_s)
