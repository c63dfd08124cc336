import asyncio
import json
from collections.abc import Sequence

from data_collection.cluster.news import Beat, Given, QueueNews, Told
from data_collection.cluster.teacher_queue import TeacherQueue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def job(number: int) -> str:
    return json.dumps({"id": f"000_{number:06d}", "seed": number})


def ids(jobs: list[str]) -> list[str]:
    return [json.loads(text)["id"] for text in jobs]


async def exchange(
    queue: TeacherQueue,
    name: str,
    held: Sequence[str] = (),
    *,
    done: Sequence[str] = (),
    room: int = 0,
    wait_s: float = 0.0,
    beat: Beat | None = None,
) -> Given:
    """Let a node talk with the queue; it reports that it is done with each job of ``done``."""
    told = Told(
        beat=beat or Beat(),
        held=list(held),
        reports=[f"{job} is done" for job in done],
        done=list(done),
        room=room,
        wait_s=wait_s,
    )
    return Given.model_validate_json(await queue.exchange(name, told.model_dump_json()))


async def take(queue: TeacherQueue, name: str, held: Sequence[str], room: int) -> list[str]:
    """Return the ids of the jobs that a node gets."""
    return ids((await exchange(queue, name, held, room=room)).jobs)


async def put(queue: TeacherQueue, *numbers: int) -> None:
    await queue.news([job(number) for number in numbers], 0)


async def news(queue: TeacherQueue, wait_s: float = 0) -> QueueNews:
    return QueueNews.model_validate_json(await queue.news([], wait_s))


def test_jobs_go_out_in_order_each_once_and_in_equal_shares():
    async def story() -> None:
        queue = TeacherQueue()
        for name in ("a", "b"):
            await exchange(queue, name)
        await put(queue, *range(5))
        first = await take(queue, "a", [], room=9)
        second = await take(queue, "b", [], room=1)
        third = await take(queue, "b", second, room=9)
        assert [first, second, third] == [
            ["000_000000", "000_000001", "000_000002"],  # three of five, for there are two nodes
            ["000_000003"],
            ["000_000004"],
        ]
        assert await take(queue, "a", first, room=9) == []

    asyncio.run(story())


def test_whoever_waits_gets_the_job_that_comes():
    async def story() -> None:
        queue = TeacherQueue()
        waiting = asyncio.create_task(exchange(queue, "a", room=2, wait_s=60))
        await asyncio.sleep(0)
        await put(queue, 7)
        assert ids((await waiting).jobs) == ["000_000007"]

    asyncio.run(story())


def test_a_report_brings_the_next_job():
    async def story() -> None:
        queue = TeacherQueue()
        await put(queue, 0, 1)
        await take(queue, "a", [], room=1)
        given = await exchange(queue, "a", done=["000_000000"], room=1)
        assert ids(given.jobs) == ["000_000001"]
        assert (await news(queue)).reports == [("a", "000_000000 is done")]

    asyncio.run(story())


def test_reports_gather_as_long_as_jobs_wait():
    async def story() -> None:
        queue = TeacherQueue()
        await put(queue, 0, 1, 2)
        await take(queue, "a", [], room=1)
        told = asyncio.create_task(news(queue, wait_s=60))
        await exchange(queue, "a", ["000_000001"], done=["000_000000"])
        await asyncio.sleep(0)
        assert not told.done()
        await exchange(queue, "a", done=["000_000001"], room=1)  # and takes the last one
        assert [report for _, report in (await told).reports] == [
            "000_000000 is done",
            "000_000001 is done",
        ]

    asyncio.run(story())


def test_reports_do_not_wait_for_ever_for_somebody_to_take_the_jobs():
    async def story() -> None:
        queue = TeacherQueue()
        await put(queue, 0, 1)
        taken = await take(queue, "a", [], room=1)
        await exchange(queue, "a", done=taken)
        assert len((await news(queue, wait_s=0.01)).reports) == 1

    asyncio.run(story())


def test_a_lost_nodes_jobs_come_back_in_the_order_it_took_them():
    async def story() -> None:
        queue = TeacherQueue()
        await put(queue, *range(3))
        taken = await take(queue, "a", [], room=3)
        await exchange(queue, "a", [taken[0], taken[2]], done=[taken[1]])
        assert ids(await queue.release("a")) == ["000_000000", "000_000002"]
        assert await queue.release("a") == []
        assert (await news(queue)).nodes == {}

    asyncio.run(story())


def test_a_job_that_got_lost_on_its_way_to_a_node_goes_out_again():
    async def story() -> None:
        queue = TeacherQueue()
        await put(queue, 0, 1)
        await take(queue, "a", [], room=1)  # the answer never arrives
        taken = await take(queue, "a", [], room=2)
        assert sorted(taken) == ["000_000000", "000_000001"]
        assert (await news(queue)).nodes["a"].jobs == 2

    asyncio.run(story())


def test_jobs_of_a_lost_queue_stay_with_those_who_play_them():
    async def story() -> None:
        queue = TeacherQueue()  # knows nothing, unlike its nodes and its runner
        await exchange(queue, "a", ["000_000000", "000_000003"])
        await put(queue, *range(5))
        await exchange(queue, "b", ["000_000001"])
        await exchange(queue, "c", done=["000_000002"])
        assert await take(queue, "c", [], room=9) == ["000_000004"]
        assert {name: node.jobs for name, node in (await news(queue)).nodes.items()} == {
            "a": 2,
            "b": 1,
            "c": 1,
        }
        await exchange(queue, "a", ["000_000003"], done=["000_000000"])
        assert ids(await queue.release("a")) == ["000_000003"]

    asyncio.run(story())


def test_a_job_that_comes_back_from_who_has_played_it_goes_out_again():
    async def story() -> None:
        queue = TeacherQueue()
        await put(queue, 0)
        taken = await take(queue, "a", [], room=1)
        await exchange(queue, "a", taken)
        await exchange(queue, "a", done=taken)  # and what it has played arrives damaged
        await put(queue, 0)
        assert await take(queue, "b", [], room=1) == taken

    asyncio.run(story())


def test_news_tell_who_is_silent_and_who_plays_for_how_long():
    async def story() -> None:
        clock = Clock()
        queue = TeacherQueue(clock)
        await put(queue, 0, 1)
        await take(queue, "a", [], room=2)
        clock.now += 5
        await exchange(queue, "a", ["000_000001"], done=["000_000000"])
        clock.now += 2
        await exchange(queue, "a", ["000_000001"], beat=Beat(waited_s=1.5))
        clock.now += 3
        told = await news(queue)
        assert told.reports == [("a", "000_000000 is done")]
        node = told.nodes["a"]
        assert (node.silent_s, node.playing_s, node.jobs) == (3, 5, 1)
        assert node.beat.waited_s == 1.5
        assert (await news(queue)).reports == []  # told once

    asyncio.run(story())


def test_each_queue_has_a_generation_of_its_own():
    async def generations() -> set[str]:
        queue = TeacherQueue()
        return {(await news(queue)).generation, (await exchange(queue, "a")).generation}

    first, second = asyncio.run(generations()), asyncio.run(generations())
    assert len(first) == len(second) == 1
    assert first != second


def test_a_closed_queue_ends_those_who_wait_and_those_who_come():
    async def story() -> None:
        queue = TeacherQueue()
        waiting = asyncio.create_task(exchange(queue, "a", room=2, wait_s=60))
        await asyncio.sleep(0)
        await queue.close()
        assert (await waiting).closed
        assert (await exchange(queue, "b", room=2, wait_s=60)).closed

    asyncio.run(story())
