"""Generated images on a real cluster: two teacher nodes, two render nodes."""

import asyncio
import json
import signal
from pathlib import Path

import numpy as np
import pytest

from data_collection.collect import collect_round
from data_collection.episodes import open_round
from data_collection.rendering.generators import Prompt, Scene
from data_collection.schema import CollectConfig
from tests.support.generated_round import write_generated
from tests.support.ray_cluster import needs_ray, wait_until
from tests.support.toy_round import contents
from trainer.config import load_config
from trainer.errors import ConfigError

pytestmark = [needs_ray, pytest.mark.xdist_group("ray")]


def collect(path: Path, backend=None, *overrides: str) -> Path:
    return collect_round(load_config(path, CollectConfig, overrides), backend=backend)


def test_generated_images_are_the_same_bytes_as_on_one_machine(backend, tmp_path):
    path = write_generated(tmp_path, {"type": "procedural"})
    folder = collect(path, backend)
    here = collect(path, None, "save_dir=here")
    assert (folder / "round.json").read_bytes() == (here / "round.json").read_bytes()
    assert "observation.images.head" in open_round(folder).keys


def test_a_generator_may_take_longer_to_be_built_than_a_node_may_be_silent(backend, tmp_path):
    slow = {"type": "plain", "params": {"build_s": 4.0, "builds": str(tmp_path / "builds")}}
    quick = {"heartbeat_s": 0.2, "heartbeat_timeout_s": 1.0}
    assert len(contents(collect(write_generated(tmp_path, slow, cluster=quick), backend))) == 4
    assert len((tmp_path / "builds").read_text().splitlines()) == 2  # once for each node


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_render_node_that_dies_or_hangs_changes_no_picture(backend, tmp_path, caplog, number):
    hit = {"hit": str(tmp_path / "hit"), "signal_number": int(number)}
    # A node that is dead is noticed otherwise, however slow the machine is.
    silence_s = 1.5 if number == signal.SIGSTOP else 60.0
    quick = {"heartbeat_s": 0.2, "heartbeat_timeout_s": silence_s}
    path = write_generated(tmp_path, {"type": "plain", "params": hit}, cluster=quick)
    folder = collect(path, backend)
    assert (tmp_path / "hit").exists()
    assert ("was silent" in caplog.text) == (number == signal.SIGSTOP)
    assert contents(folder) == contents(collect(path, None, "save_dir=here"))


def test_teachers_generate_pictures_while_no_render_node_is_left(backend, tmp_path, caplog):
    plain = {"type": "plain", "params": {"down": str(tmp_path / "down")}}
    quick = {"heartbeat_s": 0.2, "heartbeat_timeout_s": 30.0, "render": {"timeout_s": 3.0}}
    path = write_generated(tmp_path, plain, workers=1, episodes=12, cluster=quick)
    (tmp_path / "down").touch()
    folder = collect(path, backend)
    drawn = (tmp_path / "drawn").read_text().split()
    assert drawn[0] == "teacher"
    assert "renderer" in drawn  # which are asked again as soon as they are back
    assert "broke down" not in caplog.text
    assert contents(folder) == contents(collect(path, None, "save_dir=here"))


def test_a_generator_that_cannot_be_built_is_the_users_to_mend(backend, tmp_path):
    path = write_generated(tmp_path, {"type": "plane"})
    with pytest.raises(
        ConfigError, match=r"collect\.yaml:\d+: generated\.generator\.type: no generator named"
    ):
        collect(path, backend)


def test_pictures_come_from_the_nodes_that_are_left(backend, tmp_path, caplog):
    import ray

    from data_collection.cluster.actors import find
    from data_collection.cluster.messages import RoundOrder
    from data_collection.cluster.render_node import RemoteGenerator
    from data_collection.cluster.render_pool import RenderNodes

    def nodes(queue: str) -> tuple[RenderNodes, list[str]]:
        overrides = [f"cluster.teacher_queue_name={json.dumps(queue)}"]
        loaded = load_config(path, CollectConfig, overrides)
        order = RoundOrder.of(loaded, folder=None, prefix="p", student=None, renderers=[])
        started = RenderNodes(loaded.config)
        return started, started.start(order.model_dump_json())

    path = write_generated(tmp_path, {"type": "plain"}, cluster={"heartbeat_s": 0.1})
    scene = Scene(np.ones((4, 6), np.float32), np.eye(4, 6, dtype=np.int32), Prompt("a", "b"), 5)
    mine, names = nodes("first")
    try:
        assert len(names) == 2
        assert nodes("second")[1] == []  # there is no room for another runner's
        assert "0 of 2 render nodes are free" in caplog.text
        pictures = RemoteGenerator(names, 0, 60.0, lambda: pytest.fail("drawn here"))
        expected = np.where(np.eye(4, 6)[..., None] > 0, [5, 5, 7], [7, 5, 5])
        assert np.array_equal(pictures.generate([scene])[0], expected)
        ray.kill(find(names[0]))
        for _ in range(3):
            assert np.array_equal(pictures.generate([scene])[0], expected)
        assert "no render node is left" not in caplog.text
        ray.kill(find(names[1]))
        wait_until(lambda: mine.watch() or "no render node is left" in caplog.text)
    finally:
        mine.stop()


@pytest.mark.parametrize(("max_batch", "calls"), [(2, 1), (1, 2)])
def test_a_render_node_batches_as_the_yaml_says(tmp_path, max_batch, calls):
    from data_collection.cluster.messages import RoundOrder
    from data_collection.cluster.news import RenderNews
    from data_collection.cluster.pictures import pack_scenes
    from data_collection.cluster.render_node import RenderNode

    async def story() -> RenderNews:
        node = RenderNode(order.model_dump_json())
        await node.ready()
        first = asyncio.create_task(node.render(scene))
        await asyncio.sleep(0.5)  # far longer than a first one waits by default
        await asyncio.gather(first, node.render(scene))
        return RenderNews.model_validate_json(await node.news())

    render = {"max_batch": max_batch, "max_wait_s": 600.0}
    path = write_generated(tmp_path, {"type": "procedural"}, cluster={"render": render})
    plugins = "plugins=[data_collection.rendering.generators.procedural]"  # built in this process
    loaded = load_config(path, CollectConfig, [plugins])
    order = RoundOrder.of(loaded, folder=None, prefix="p", student=None, renderers=[])
    depth, mask = np.ones((4, 6), np.float32), np.eye(4, 6, dtype=np.int32)
    scene = pack_scenes([Scene(depth, mask, Prompt("a", "b"), 5)])
    news = asyncio.run(story())
    assert (news.calls, news.pictures) == (calls, 2)
