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
from data_collection.cluster.news import Beat, QueueNews, TeacherNews


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
        self._jobs_came = asyncio.Condition()
        self._reports_came = asyncio.Condition()

    async def put(self, jobs: Sequence[str]) -> str:
        """Append jobs, and return the generation of the queue that has them."""
        async with self._jobs_came:
            self._waiting |= {parse(JobMessage, job).id: job for job in jobs}
            for node in self._nodes.values():
                self._leave_to(node)
            self._jobs_came.notify_all()
        return self._generation

    async def take(
        self, name: str, held: Sequence[str], most: int, wait_s: float
    ) -> list[str] | None:
        """Return up to ``most`` jobs for a node; None when there will be none any more.

        Empty when none came within ``wait_s`` seconds. ``held`` are the ids of those that the node
        has: what it should have, too, got lost on its way.
        """
        node = self._heard(name, held)
        lost = [job for job in node.jobs if job not in node.held]
        self._waiting |= {job: node.jobs.pop(job) for job in lost}
        async with self._jobs_came:
            await _until(self._jobs_came, lambda: bool(self._waiting) or self._closed, wait_s)
            if self._closed:
                return None
            # Each node takes its share, so that none has to wait for what another one holds.
            share = -(-len(self._waiting) // max(1, len(self._nodes)))
            taken = list(self._waiting)[: min(most, share)]
            return self._hand_out(taken, self._heard(name))

    async def close(self) -> None:
        """Hand out no more jobs: nodes that have none end."""
        async with self._jobs_came:
            self._closed = True
            self._jobs_came.notify_all()

    async def report(self, name: str, reports: Sequence[str], done: Sequence[str]) -> str:
        """Pass a node's reports on, and return the generation of the queue that has them.

        ``done`` are the ids of the jobs that they end.
        """
        node = self._heard(name)
        node.held -= set(done)
        for job in done:
            node.jobs.pop(job, None)
            self._waiting.pop(job, None)
            node.since = self._clock()
        async with self._reports_came:
            self._reports += [(name, report) for report in reports]
            self._reports_came.notify_all()
        return self._generation

    async def beat(self, name: str, held: Sequence[str], beat: str) -> str:
        """Note that a node lives and has jobs; return the generation of the queue."""
        self._heard(name, held).beat = parse(Beat, beat)
        return self._generation

    async def news(self, wait_s: float) -> str:
        """Return ``QueueNews`` as JSON once there are reports, or ``wait_s`` seconds went by."""
        async with self._reports_came:
            await _until(self._reports_came, lambda: bool(self._reports), wait_s)
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

    def _heard(self, name: str, held: Sequence[str] | None = None) -> _Node:
        node = self._nodes.setdefault(name, _Node(self._clock()))
        node.heard = self._clock()
        if held is not None:
            node.held = frozenset(held)
            self._leave_to(node)
        return node

    def _leave_to(self, node: _Node) -> None:
        """Count waiting jobs that a node has already as handed out to it."""
        self._hand_out([job for job in node.held if job in self._waiting], node)

    def _hand_out(self, ids: Sequence[str], node: _Node) -> list[str]:
        if not node.jobs:
            node.since = self._clock()
        jobs = {job: self._waiting.pop(job) for job in ids}
        node.jobs |= jobs
        return list(jobs.values())


async def _until(changed: asyncio.Condition, true: Callable[[], bool], wait_s: float) -> None:
    """Wait until something is true, or ``wait_s`` seconds went by."""
    if not true():
        with suppress(TimeoutError):
            await asyncio.wait_for(changed.wait_for(true), wait_s)
