import threading

import pytest

from data_collection.player import Ready
from data_collection.schema import CollectConfig
from tests.support.ray_cluster import needs_ray, wait_until
from tests.support.toy_round import write_round
from trainer.config import load_config

pytestmark = [needs_ray, pytest.mark.xdist_group("ray")]

READY = Ready({"control_hz": 10.0}, 20)


def test_a_queue_that_was_lost_hears_again_that_a_node_is_ready(backend, tmp_path):
    """Its runner may not have heard of it before."""
    import ray

    from data_collection.cluster.actors import start_named, text_of
    from data_collection.cluster.messages import from_report, parse
    from data_collection.cluster.news import QueueNews
    from data_collection.cluster.teacher_node import QueueChannel
    from data_collection.cluster.teacher_queue import TeacherQueue

    path = write_round(tmp_path, cluster={"teacher_queue_name": "lost", "heartbeat_s": 0.2})
    queue = start_named(TeacherQueue, "lost")
    heard = []

    def hear() -> bool:
        news = parse(QueueNews, text_of(queue.news.remote([], 0.1)))
        heard.extend((news.generation, from_report(report)) for _, report in news.reports)
        return len({generation for generation, _ in heard}) == 2

    config = load_config(path, CollectConfig).config
    with QueueChannel("teacher_0", config, lambda outcome: None, None) as channel:
        channel.send(READY)
        assert not hear()
        ray.kill(queue, no_restart=False)
        wait_until(hear, 60)
        assert [message for _, message in heard] == [READY, READY]  # once each
        ray.get(queue.close.remote())
        with pytest.raises(EOFError):
            channel.recv()
    assert "queue" not in {thread.name for thread in threading.enumerate()}
    ray.kill(queue)
