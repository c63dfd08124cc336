"""A whole DAgger experiment, small: killed, started again, and the same in the end."""

import json
import multiprocessing
import os
import random
import sys
import time
from pathlib import Path

import pytest
import torch

from data_collection import dagger_runner
from data_collection.episodes import open_round
from trainer.cli import run_command
from trainer.errors import ConfigError, UserError

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "experiment_training/dagger/peg_insert_side/exp1/dagger.yaml"
SETTINGS = {
    "phase1.episodes": 3,
    "phase1.max_steps": 40,
    "phase2.rollouts": 2,
    "phase2.max_steps": 24,
    "phase2.labels.every": 8,
    "n_rounds": 1,
    "train.set": {
        "train.steps": 12,
        "train.save_every": 6,
        "data.batch_size": 16,
        "logging": [],
    },
    "evaluation.episodes": 2,
    "evaluation.max_steps": 24,
    "evaluation.videos": 1,
    "min_teacher_success": None,
    "workers": 1,
    "environments_per_worker": 2,
}

_CHILDREN = multiprocessing.get_context("forkserver")


def arguments(folder, **more):
    values = SETTINGS | {"save_dir": str(folder)} | more
    pairs = [("--set", f"{key}={json.dumps(value)}") for key, value in values.items()]
    return ["--dagger_config", str(CONFIG), *(a for pair in pairs for a in pair)]


def _run(folder, log):
    torch.set_num_threads(1)
    os.chdir(ROOT)
    sys.stdout = sys.stderr = Path(log).open("a")  # noqa: SIM115 - open until the process ends
    sys.argv[1:] = arguments(folder)
    run_command(dagger_runner.main)


def fingerprint(folder):
    """Return the hashes of all episodes and final weights, and the rounds' figures."""
    rounds = sorted((folder / "data").iterdir())
    episodes = {
        record.id: record.content_sha256
        for path in rounds
        for record in open_round(path).manifest.values()
    }
    weights = {
        path.parent.parent.name: json.loads(path.read_text())["weights_sha256"]
        for path in (folder / "train").glob("*/epoch_2/manifest.json")
    }
    figures = [
        json.loads(path.read_text()) for path in sorted((folder / "rounds").glob("[0-9]*.json"))
    ]
    for figure in figures:
        del figure["seconds"], figure["labelling_seconds"]
        del figure["evaluation"]["seconds"], figure["evaluation"]["seconds_per_decision"]
    return episodes, weights, figures


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dagger") / "whole"
    assert dagger_runner.main(arguments(folder)) == 0
    return folder


def test_rounds_are_collected_trained_evaluated_and_reported(finished):
    episodes, weights, figures = fingerprint(finished)
    assert len(episodes) == 5
    assert set(weights) == {"round_000", "round_001"}
    assert [f["driver"] for f in figures] == [None, "train/round_000/epoch_2"]
    assert figures[1]["actors"]["student"] == 1.0
    second = open_round(finished / "data" / "round_001")
    assert second.manifest[second.ids[0]].attributes.student_checkpoint == weights["round_000"]
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["final_success_rate"] == figures[1]["evaluation"]["success_rate"]
    assert set(summary) >= {"final_return", "teacher_return", "teacher_success_rate", "rounds"}
    report = (finished / "report.html").read_text()
    assert report.count("data:image/png;base64") == 6
    assert report.count("data:video/mp4;base64") == 2
    assert "http" not in report


def test_starting_a_finished_experiment_again_repeats_nothing(finished):
    before = {p: p.stat().st_mtime_ns for p in (finished / "train").rglob("*.pt")}
    assert dagger_runner.main(arguments(finished)) == 0
    assert {p: p.stat().st_mtime_ns for p in (finished / "train").rglob("*.pt")} == before


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_runner_killed_at_random_moments_ends_with_the_same_hashes(finished, tmp_path, seed):
    folder, log = tmp_path / "killed", tmp_path / "log.txt"
    rng = random.Random(seed)
    for _ in range(6):
        child = _CHILDREN.Process(target=_run, args=(str(folder), str(log)))
        child.start()
        child.join(rng.uniform(3.0, 12.0))
        if child.exitcode is not None:
            break
        child.kill()
        child.join()
        time.sleep(0.2)
    child = _CHILDREN.Process(target=_run, args=(str(folder), str(log)))
    child.start()
    child.join(200)
    assert child.exitcode == 0, log.read_text()
    assert fingerprint(folder) == fingerprint(finished)


def test_another_configuration_in_the_same_folder_is_refused(finished):
    with pytest.raises(ConfigError, match=r"phase2\.rollouts: saved 2, now 3"):
        dagger_runner.main(arguments(finished, **{"phase2.rollouts": 3}))


def test_a_teacher_that_is_not_good_enough_stops_the_run(tmp_path):
    with pytest.raises(UserError, match="not good enough"):
        dagger_runner.main(arguments(tmp_path / "poor", min_teacher_success=0.9))
    assert not (tmp_path / "poor" / "data").exists()
