"""Nodes, machines, the queue and the runner are killed at random; the round is the same."""

import random
import signal
from pathlib import Path

import pytest

from data_collection.collect import collect_round
from data_collection.episodes import verify_round
from data_collection.schema import CollectConfig
from tests.support.generated_round import write_generated
from tests.support.ray_cluster import (
    COLLECT,
    RayCluster,
    needs_network,
    needs_ray,
    own_address,
    running_head,
    wait_until,
)
from tests.support.toy import make_toy
from tests.support.toy_round import contents, write_round
from trainer.config import load_config

pytestmark = [needs_ray, needs_network, pytest.mark.xdist_group("ray")]

ACCIDENTS = (
    "ray::TeacherNode",
    "ray::RenderNode",
    "machine",
    "ray::TeacherQueue",
    "hanging ray::TeacherNode",
    "ray::TeacherNode",
    "ray::RenderNode",
    "machine",
)
"""What happens, over and over: processes are killed, one is stopped, a machine loses power."""

# A process of its own: Ray remembers the token of the first cluster that a process is connected to.
TRAIN = """
import argparse
from pathlib import Path
from data_collection.backend import add_backend_options, open_backend
from trainer.cli import run_command

def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    add_backend_options(parser)
    args = parser.parse_args(arguments)
    with open_backend(args) as backend:
        backend.train(args.config, 1)

run_command(main)
"""


@pytest.fixture
def torn_cluster():
    """A head with a teacher node and a render node, and a machine with others."""
    with running_head(own_address(), teachers=1, renderers=1) as cluster:
        cluster.join(teachers=1, renderers=1)
        yield cluster


def collect_among_accidents(
    cluster: RayCluster, path: Path, *, episodes: int, accidents: int, runner_kills: int
) -> None:
    """Collect while things are killed, at moments of the round's progress drawn at random."""
    chance = random.Random(0)
    blows = [ACCIDENTS[i % len(ACCIDENTS)] for i in range(accidents)] + ["runner"] * runner_kills
    chance.shuffle(blows)
    moments = sorted(chance.sample(range(1, episodes * 9 // 10), len(blows)))
    command = [*COLLECT, "--collect_config", str(path)]
    manifest = path.parents[4] / "rounds" / "round_000" / "manifest.jsonl"
    runner = cluster.start(*command)
    for moment, blow in zip(moments, blows, strict=True):
        now = runner
        wait_until(lambda due=moment, now=now: progress(manifest) >= due or now.poll() is not None)
        if blow == "runner":
            runner.kill()
            runner.wait()
            runner = cluster.start(*command)
        else:
            strike(cluster, blow, chance)
            assert runner.poll() is None, f"over before {blow}: {runner.communicate()[0]}"
    output, _ = runner.communicate(timeout=600)
    assert runner.returncode == 0, output


def progress(manifest: Path) -> int:
    return manifest.read_bytes().count(b"\n") if manifest.exists() else 0


def strike(cluster: RayCluster, kind: str, chance: random.Random) -> None:
    """Let one accident happen to something that is at work."""
    if kind == "machine":
        machine = cluster.machines[-1]
        wait_until(lambda: cluster.processes("ray::TeacherNode", machine))
        cluster.crash(machine)
        cluster.join(teachers=1, renderers=1, wait=False)
        return
    name = kind.removeprefix("hanging ")
    wait_until(lambda: cluster.processes(name))
    victim = chance.choice(cluster.processes(name))
    victim.send_signal(signal.SIGKILL if name == kind else signal.SIGSTOP)


@pytest.mark.parametrize(
    ("episodes", "accidents", "runner_kills"),
    [(30, 5, 1), pytest.param(200, 24, 3, marks=[pytest.mark.slow, pytest.mark.timeout(1500)])],
)
def test_accidents_change_no_byte_of_a_round(
    torn_cluster, tmp_path, episodes, accidents, runner_kills
):
    path = write_generated(
        tmp_path,
        {"type": "plain", "params": {"pause_s": 0.1}},
        episodes=episodes,
        max_retries=5,
        cluster={
            "heartbeat_s": 0.2,
            "heartbeat_timeout_s": 3.0,
            "render": {"timeout_s": 3.0},
            "storage": str(tmp_path / "s"),
        },
    )
    collect_among_accidents(
        torn_cluster, path, episodes=episodes, accidents=accidents, runner_kills=runner_kills
    )
    folder = tmp_path / "rounds" / "round_000"
    assert verify_round(folder) == []
    assert not (folder / "quarantine").exists()
    whole = collect_round(load_config(path, CollectConfig, ["save_dir=whole", "workers=4"]))
    assert len(contents(folder)) == episodes
    assert (folder / "round.json").read_bytes() == (whole / "round.json").read_bytes()


def test_a_lost_machine_is_no_rollouts_fault(torn_cluster, tmp_path):
    """Not even where a rollout has one attempt, and two nodes are gone at once."""
    path = write_round(
        tmp_path,
        episodes=24,
        keep_failures=True,
        environment={"type": "toy", "params": {"pause_s": 0.2}},
        workers=4,
        max_retries=0,
    )
    torn_cluster.join(teachers=2, renderers=0)
    manifest = tmp_path / "rounds" / "round_000" / "manifest.jsonl"
    runner = torn_cluster.start(*COLLECT, "--collect_config", str(path))
    wait_until(lambda: len(torn_cluster.processes("TeacherNode.play")) == 4)
    wait_until(lambda: progress(manifest) >= 8)
    torn_cluster.crash(torn_cluster.machines[-1])
    output, _ = runner.communicate(timeout=120)
    assert runner.returncode == 0, output
    assert "is lost with its machine" in output
    assert len(contents(manifest.parent)) == 24


def test_a_runner_does_not_wait_for_a_render_node_on_a_lost_machine(torn_cluster, tmp_path):
    path = write_generated(tmp_path, {"type": "plain"})
    torn_cluster.crash(torn_cluster.machines[-1])  # which the cluster has not noticed yet
    code, output = torn_cluster.run(*COLLECT, "--collect_config", str(path), timeout_s=120)
    assert code == 0, output


@pytest.mark.slow
@pytest.mark.parametrize("back", [False, True])
def test_a_lost_head_ends_the_runner_and_the_next_start_goes_on(torn_cluster, tmp_path, back):
    """Also when it is back before the runner could notice."""
    path = write_round(
        tmp_path,
        episodes=40,
        keep_failures=True,
        workers=2,
        environment={"type": "toy", "params": {"pause_s": 0.05}},
    )
    command = [*COLLECT, "--collect_config", str(path)]
    manifest = tmp_path / "rounds" / "round_000" / "manifest.jsonl"
    runner = torn_cluster.start(*command)
    wait_until(manifest.exists)
    for machine in list(torn_cluster.machines):
        torn_cluster.crash(machine)
    if back:
        torn_cluster.head(teachers=2, renderers=0)
    output, _ = runner.communicate(timeout=120)
    assert runner.returncode == 2, output
    assert "the head of the cluster" in output
    assert "start it again, then the same command" in output
    before = set(contents(manifest.parent))
    assert 0 < len(before) < 40
    if not back:
        torn_cluster.head(teachers=2, renderers=0)
    code, output = torn_cluster.run(*command)
    assert code == 0, output
    whole = collect_round(load_config(path, CollectConfig, ["save_dir=whole"]))
    assert (manifest.parent / "round.json").read_bytes() == (whole / "round.json").read_bytes()


@pytest.mark.slow
def test_a_head_that_hangs_ends_the_runner(torn_cluster, tmp_path):
    path = write_generated(tmp_path, {"type": "plain", "params": {"pause_s": 0.5}}, episodes=200)
    runner = torn_cluster.start(*COLLECT, "--collect_config", str(path))
    wait_until((tmp_path / "rounds" / "round_000" / "manifest.jsonl").exists)
    (gcs,) = torn_cluster.processes("gcs_server")
    gcs.suspend()
    output, _ = runner.communicate(timeout=120)
    gcs.resume()
    assert runner.returncode == 2, output
    assert "the head of the cluster" in output


@pytest.mark.slow
def test_a_lost_trainer_machine_ends_the_runner(tmp_path):
    toy = make_toy(tmp_path)
    with running_head(own_address(), trainer=False) as cluster:
        machine = cluster.join(teachers=0, renderers=0, trainer=True)
        runner = cluster.start("-c", TRAIN, str(toy.config_path), "--backend", "ray")
        cluster.wait_for("TrainerNode.train")
        cluster.crash(machine)
        output, _ = runner.communicate(timeout=120)
    assert runner.returncode == 2, output
    assert "no machine offers the resource 'trainer'" in output
