"""Requests of several callers, worked off together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

X = TypeVar("X")
Y = TypeVar("Y")


@dataclass
class _Request(Generic[X, Y]):
    items: Sequence[X]
    answer: asyncio.Future[list[Y]]


class MicroBatches(Generic[X, Y]):
    """Hands the items of several requests to ``work`` at once.

    Args:
        work: Returns an answer for each item, in order. It runs in a thread, one call at a time.
        max_batch: Items of a call; a request is never divided, so a larger one is a call alone.
        max_wait_s: How long the first request of a call waits for others.
    """

    def __init__(
        self, work: Callable[[list[X]], list[Y]], *, max_batch: int, max_wait_s: float
    ) -> None:
        self._work = work
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._thread = ThreadPoolExecutor(1, "batch")
        self._requests: asyncio.Queue[_Request[X, Y]] = asyncio.Queue()
        self._next: _Request[X, Y] | None = None
        self._worker: asyncio.Task[None] | None = None
        self.calls = 0
        self.items = 0
        self.busy_s = 0.0

    async def submit(self, items: Sequence[X]) -> list[Y]:
        """Return the answers to one request; raise what ``work`` raises."""
        loop = asyncio.get_running_loop()
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._run())
        request: _Request[X, Y] = _Request(items, loop.create_future())
        await self._requests.put(request)
        return await request.answer

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._gather()
            items = [item for request in batch for item in request.items]
            begin = time.perf_counter()
            try:
                answers = await loop.run_in_executor(self._thread, self._work, items)
            except Exception as error:  # it is the callers' to handle
                for request in batch:
                    if not request.answer.done():
                        request.answer.set_exception(error)
                continue
            self.calls += 1
            self.items += len(items)
            self.busy_s += time.perf_counter() - begin
            for request in batch:
                mine, answers = answers[: len(request.items)], answers[len(request.items) :]
                if not request.answer.done():
                    request.answer.set_result(mine)

    async def _gather(self) -> list[_Request[X, Y]]:
        """Return the requests of the next call."""
        loop = asyncio.get_running_loop()
        batch = [self._next or await self._requests.get()]
        self._next = None
        size, deadline = len(batch[0].items), loop.time() + self._max_wait_s
        while size < self._max_batch:
            if self._requests.empty() and loop.time() >= deadline:
                break
            try:
                left_s = max(1e-4, deadline - loop.time())
                request = await asyncio.wait_for(self._requests.get(), left_s)
            except TimeoutError:
                break
            if size + len(request.items) > self._max_batch:
                self._next = request
                break
            batch.append(request)
            size += len(request.items)
        return batch
