import asyncio
import json

from data_collection.cluster.news import Beat, QueueNews
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


def news(text: str) -> QueueNews:
    return QueueNews.model_validate_json(text)


def test_jobs_go_out_in_order_each_once_and_in_equal_shares():
    async def story() -> None:
        queue = TeacherQueue()
        for name in ("a", "b"):
            await queue.beat(name, [], Beat().model_dump_json())
        await queue.put([job(i) for i in range(5)])
        first = await queue.take("a", [], most=9, wait_s=0)
        second = await queue.take("b", [], most=1, wait_s=0)
        third = await queue.take("b", ids(second), most=9, wait_s=0)
        assert [ids(taken) for taken in (first, second, third)] == [
            ["000_000000", "000_000001", "000_000002"],  # three of five, for there are two nodes
            ["000_000003"],
            ["000_000004"],
        ]
        assert await queue.take("a", ids(first), most=9, wait_s=0.01) == []

    asyncio.run(story())


def test_whoever_waits_gets_the_job_that_comes():
    async def story() -> None:
        queue = TeacherQueue()
        taking = asyncio.create_task(queue.take("a", [], most=2, wait_s=60))
        await asyncio.sleep(0)
        await queue.put([job(7)])
        assert ids(await taking) == ["000_000007"]

    asyncio.run(story())


def test_a_lost_nodes_jobs_come_back_in_the_order_it_took_them():
    async def story() -> None:
        queue = TeacherQueue()
        await queue.put([job(i) for i in range(3)])
        await queue.take("a", [], most=3, wait_s=0)
        await queue.report("a", ["report"], done=["000_000001"])
        assert ids(await queue.release("a")) == ["000_000000", "000_000002"]
        assert await queue.release("a") == []
        assert news(await queue.news(0)).nodes == {}

    asyncio.run(story())


def test_a_job_that_got_lost_on_its_way_to_a_node_goes_out_again():
    async def story() -> None:
        queue = TeacherQueue()
        await queue.put([job(0), job(1)])
        await queue.take("a", [], most=1, wait_s=0)  # the answer never arrives
        taken = await queue.take("a", [], most=2, wait_s=0)
        assert sorted(ids(taken)) == ["000_000000", "000_000001"]
        assert news(await queue.news(0)).nodes["a"].jobs == 2

    asyncio.run(story())


def test_jobs_of_a_lost_queue_stay_with_those_who_play_them():
    async def story() -> None:
        queue = TeacherQueue()  # knows nothing, unlike its nodes and its runner
        beat = Beat().model_dump_json()
        await queue.beat("a", ["000_000000", "000_000003"], beat)
        await queue.put([job(i) for i in range(5)])
        await queue.beat("b", ["000_000001"], beat)
        await queue.report("c", ["report"], done=["000_000002"])
        assert ids(await queue.take("c", [], most=9, wait_s=0)) == ["000_000004"]
        assert {name: node.jobs for name, node in news(await queue.news(0)).nodes.items()} == {
            "a": 2,
            "b": 1,
            "c": 1,
        }
        await queue.report("a", ["report"], done=["000_000000"])
        assert ids(await queue.release("a")) == ["000_000003"]

    asyncio.run(story())


def test_a_job_that_comes_back_from_who_has_played_it_goes_out_again():
    async def story() -> None:
        queue = TeacherQueue()
        await queue.put([job(0)])
        taken = ids(await queue.take("a", [], most=1, wait_s=0))
        await queue.beat("a", taken, Beat().model_dump_json())
        await queue.report("a", ["arrives damaged"], done=taken)
        await queue.put([job(0)])
        assert ids(await queue.take("b", [], most=1, wait_s=0)) == taken

    asyncio.run(story())


def test_news_tell_who_is_silent_and_who_plays_for_how_long():
    async def story() -> None:
        clock = Clock()
        queue = TeacherQueue(clock)
        await queue.put([job(0), job(1)])
        await queue.take("a", [], most=2, wait_s=0)
        clock.now += 5
        await queue.report("a", ["done"], done=["000_000000"])
        clock.now += 2
        await queue.beat("a", ["000_000001"], Beat(waited_s=1.5).model_dump_json())
        clock.now += 3
        told = news(await queue.news(0))
        assert told.reports == [("a", "done")]
        node = told.nodes["a"]
        assert (node.silent_s, node.playing_s, node.jobs) == (3, 5, 1)
        assert node.beat.waited_s == 1.5
        assert news(await queue.news(0)).reports == []  # told once

    asyncio.run(story())


def test_each_queue_has_a_generation_of_its_own():
    async def generation() -> str:
        return await TeacherQueue().put([])

    assert asyncio.run(generation()) != asyncio.run(generation())


def test_a_closed_queue_ends_those_who_wait_and_those_who_come():
    async def story() -> None:
        queue = TeacherQueue()
        taking = asyncio.create_task(queue.take("a", [], most=2, wait_s=60))
        await asyncio.sleep(0)
        await queue.close()
        assert await taking is None
        assert await queue.take("b", [], most=2, wait_s=60) is None

    asyncio.run(story())
