"""A whole DAgger experiment on a cluster is the one that runs on one machine."""

import json
from pathlib import Path

import pytest

from data_collection.collect import collect_round
from data_collection.schema import CollectConfig
from tests.support.ray_cluster import DAGGER, needs_ray
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


def test_an_experiment_on_the_cluster_is_the_one_that_runs_here(cluster, tmp_path):
    experiment, storage = tmp_path / "run", tmp_path / "storage"
    more = {"save_dir": str(experiment), "cluster": {"storage": str(storage)}}
    code, output = cluster.run(*DAGGER, *settings(**more), timeout_s=800)
    assert code == 0, output
    assert "trainer: step 12, train/loss" in output
    for index in range(3):
        data = experiment / "data" / f"round_{index:03d}"
        assert (data / "manifest.jsonl").read_bytes() == played_here(
            experiment, index, tmp_path / "here"
        )
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
