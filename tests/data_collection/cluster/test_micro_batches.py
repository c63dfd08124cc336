import asyncio
import threading

import pytest

from data_collection.cluster.micro_batches import MicroBatches


def doubling(calls: list[list[int]]):
    def work(items: list[int]) -> list[int]:
        calls.append(items)
        return [2 * item for item in items]

    return work


def test_requests_that_come_together_are_one_call_and_get_their_own_answers():
    async def story() -> None:
        calls: list[list[int]] = []
        batches = MicroBatches(doubling(calls), max_batch=8, max_wait_s=5.0)
        answers = await asyncio.gather(
            batches.submit([1, 2, 3]), batches.submit([4]), batches.submit([5, 6, 7, 8])
        )
        assert answers == [[2, 4, 6], [8], [10, 12, 14, 16]]
        assert calls == [[1, 2, 3, 4, 5, 6, 7, 8]]  # full: nobody waited five seconds
        assert (batches.calls, batches.items) == (1, 8)

    asyncio.run(story())


def test_a_request_is_never_divided():
    async def story() -> None:
        calls: list[list[int]] = []
        batches = MicroBatches(doubling(calls), max_batch=4, max_wait_s=0.01)
        await asyncio.gather(*(batches.submit([i] * 3) for i in range(3)))
        assert calls == [[0] * 3, [1] * 3, [2] * 3]
        assert await batches.submit(list(range(9))) == [2 * i for i in range(9)]

    asyncio.run(story())


def test_a_single_request_does_not_wait_for_ever():
    async def story() -> None:
        batches = MicroBatches(doubling([]), max_batch=100, max_wait_s=0.0)
        assert await asyncio.wait_for(batches.submit([1]), 30) == [2]

    asyncio.run(story())


def test_what_comes_while_a_call_runs_is_the_next_call():
    async def story() -> None:
        calls: list[list[int]] = []
        begun, go_on = threading.Event(), threading.Event()

        def work(items: list[int]) -> list[int]:
            calls.append(items)
            begun.set()
            assert go_on.wait(30)
            return items

        batches = MicroBatches(work, max_batch=8, max_wait_s=0.0)
        first = asyncio.create_task(batches.submit([1]))
        await asyncio.to_thread(begun.wait, 30)
        others = [asyncio.create_task(batches.submit([i])) for i in (2, 3, 4)]
        await asyncio.sleep(0.01)
        go_on.set()
        assert await asyncio.gather(first, *others) == [[1], [2], [3], [4]]
        assert calls == [[1], [2, 3, 4]]

    asyncio.run(story())


def test_an_error_reaches_all_who_asked_and_the_next_call_works():
    async def story() -> None:
        def work(items: list[int]) -> list[int]:
            if 13 in items:
                raise ValueError("thirteen")
            return items

        batches = MicroBatches(work, max_batch=2, max_wait_s=5.0)
        answers = await asyncio.gather(
            batches.submit([13]), batches.submit([1]), return_exceptions=True
        )
        assert [str(answer) for answer in answers] == ["thirteen", "thirteen"]
        assert await asyncio.gather(batches.submit([1]), batches.submit([2])) == [[1], [2]]

    asyncio.run(story())


@pytest.mark.parametrize("size", [1, 5])
def test_nothing_is_lost_under_load(size):
    async def story() -> None:
        batches = MicroBatches(doubling([]), max_batch=7, max_wait_s=0.001)
        answers = await asyncio.gather(*(batches.submit([i] * size) for i in range(200)))
        assert answers == [[2 * i] * size for i in range(200)]

    asyncio.run(story())
