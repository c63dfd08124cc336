"""A whole DAgger experiment on a cluster is the one that runs on one machine."""

import json
import re
from pathlib import Path

import pytest

from data_collection.collect import collect_round
from data_collection.episodes import open_round
from data_collection.schema import CollectConfig
from tests.support.ray_cluster import DAGGER, ROOT, needs_ray, running_head, with_storage
from tests.support.servers import sftp_server
from trainer.checkpoint import open_checkpoint
from trainer.config import load_config

pytestmark = [needs_ray, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("ray")]

SETTINGS = {
    "phase1.episodes": 3,
    "phase1.max_steps": 40,
    "phase2.rollouts": 3,
    "phase2.max_steps": 24,
    "phase2.labels.every": 8,
    "n_rounds": 2,
    "train.set": {"train.steps": 12, "train.save_every": 6, "data.batch_size": 16, "logging": []},
    "evaluation.episodes": 2,
    "evaluation.max_steps": 24,
    "evaluation.video_every": -1,
    "min_teacher_success": None,
    "environments_per_worker": 2,
}
GENERATED = ROOT / "experiment_training/dagger/button_press_generated/exp1/dagger.yaml"


@pytest.fixture(scope="module")
def cluster():
    """A head that holds two teacher nodes, one render node and the trainer node."""
    with running_head(teachers=2, renderers=1) as cluster:
        yield cluster


def settings(**more: object) -> list[str]:
    values = SETTINGS | more
    return [part for k, v in values.items() for part in ("--set", f"{k}={json.dumps(v)}")]


def played_here(experiment: Path, index: int, folder: Path) -> bytes:
    """Return the manifest of a round played by worker processes, driven as the cluster's was."""
    config = experiment / "configs" / f"{index:03d}_collect.yaml"
    overrides = [f"save_dir={folder}", "workers=1"]
    return (
        collect_round(load_config(config, CollectConfig, overrides)) / "manifest.jsonl"
    ).read_bytes()


def run_on(cluster, command: list[str], experiment: Path, **more: object) -> str:
    """Run an experiment, and return what it printed."""
    more |= {"save_dir": str(experiment), "cluster.report_every_s": 0.2}
    code, output = cluster.run(*command, *settings(**more), timeout_s=800)
    assert code == 0, output
    assert "trainer: step 12, train/loss" in output
    return output


def check_rounds_are_those_played_here(experiment: Path, here: Path) -> None:
    for index in range(3):
        data = experiment / "data" / f"round_{index:03d}"
        assert (data / "manifest.jsonl").read_bytes() == played_here(experiment, index, here)


def test_an_experiment_on_the_cluster_is_the_one_that_runs_here(cluster, tmp_path):
    """Its storage is an sftp server."""
    experiment, storage = tmp_path / "run", tmp_path / "server" / "rounds"
    storage.parent.mkdir()
    with sftp_server(storage.parent, cluster.folder) as url:
        command = with_storage(DAGGER[-1], url)
        run_on(cluster, command, experiment)
    check_rounds_are_those_played_here(experiment, tmp_path / "here")
    # The nodes had their students from the storage.
    drivers = {
        json.loads(line)["student_checkpoint"]
        for index in (1, 2)
        for line in (experiment / f"data/round_{index:03d}/manifest.jsonl").read_text().splitlines()
    }
    assert drivers == {
        json.loads(path.read_text())["weights_sha256"]
        for path in (storage / "checkpoints").glob("*/manifest.json")
    }
    trained = open_checkpoint(experiment / "train" / "round_000" / "epoch_2")
    assert trained.weights_sha256 in drivers


def test_so_is_one_whose_pictures_a_render_node_generates(cluster, tmp_path):
    """In phase I and in the rounds that the student drives."""
    experiment = tmp_path / "run"
    command = with_storage(str(GENERATED), str(tmp_path / "storage"))
    output = run_on(cluster, command, experiment, **{"phase2.inference_batch": 2})
    assert "teacher nodes generate" not in output
    for of_a_round in output.split("trainer: step 12")[:3]:
        assert re.search(r"pictures a minute: teacher_queue_renderer_0 [1-9]", of_a_round)
    check_rounds_are_those_played_here(experiment, tmp_path / "here")
    for index in range(3):
        assert "generated.valid.left" in open_round(experiment / f"data/round_{index:03d}").keys
