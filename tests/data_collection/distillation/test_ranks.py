"""Two ranks, each with environments of its own, and the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from data_collection.distillation.launch import enter_distillation
from data_collection.distillation.runner import DistillationRunner
from data_collection.distillation.student import load_distillation
from tests.support.ranks import run_on_two_ranks
from tests.support.vector_toy import ALONE, BLENDED, distilled, figures, write_project
from trainer.checkpoint import open_checkpoint
from trainer.distributed import Ranks

ROOT = Path(__file__).parents[3]


def train(path: Path, rank: int) -> torch.Tensor:
    torch.set_num_threads(1)
    ranks = Ranks(rank, 2, torch.device("cpu"))
    whole = distilled(path, *BLENDED, "train.save_every=3", ranks=ranks)
    loaded = load_distillation(path, [*BLENDED, "train.save_dir=runs/again"])
    half_way = path.parents[4] / "runs" / "toy" / "exp1" / "epoch_3"
    with enter_distillation(loaded, ranks, str(half_way)) as again:
        again.run()
    return torch.stack([end(whole), end(again)])


def end(runner: DistillationRunner) -> torch.Tensor:
    """Where its own environments stand (12), then what all ranks share."""
    weights = torch.cat([p.detach().flatten() for p in runner.loop.policy.components.parameters()])
    place = runner.setting.env.place.flatten()
    return torch.cat(
        [place, weights, torch.from_numpy(runner.statistics["action"].seen.mean).float()]
    )


class Work:
    """Trains in a folder; an object, so that child processes can be told which."""

    def __init__(self, path):
        self.path = path

    def __call__(self, rank):
        return train(self.path, rank)


class Resumption:
    """Goes on from a checkpoint; returns what decides the batches of each rank, then trains."""

    def __init__(self, path, checkpoint):
        self.path, self.checkpoint = path, checkpoint

    def __call__(self, rank):
        torch.set_num_threads(1)
        ranks = Ranks(rank, 2, torch.device("cpu"))
        loaded = load_distillation(self.path, ["train.save_dir=runs/more"])
        with enter_distillation(loaded, ranks, str(self.checkpoint)) as runner:
            begun = [len(runner.history), runner.iteration]
            runner.run()
        statistics = runner.loop.policy.normalizer.statistics["observation.state"]
        return torch.tensor([*begun, statistics.count, *statistics.mean, *statistics.std])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A distillation on two ranks: its YAML, and what each rank returned."""
    root = tmp_path_factory.mktemp("trained")
    path = write_project(root)
    return path, run_on_two_ranks(Work(path), root)


def test_ranks_have_their_own_environments_and_the_same_student(trained):
    path, (first, second) = trained
    assert not torch.equal(first[:, :12], second[:, :12])
    assert torch.equal(first[:, 12:], second[:, 12:])
    save_dir = path.parents[4] / "runs" / "toy" / "exp1"
    files = {file.name for file in (save_dir / "epoch_6").iterdir()}
    assert {"distillation_rank_0.safetensors", "distillation_rank_1.safetensors"} <= files
    assert len(figures(save_dir)) == 6


def test_ranks_that_are_resumed_have_the_same_bits(trained):
    for whole, again in trained[1]:
        assert torch.equal(whole, again)


def test_on_more_ranks_all_begin_with_the_same_statistics_and_no_history(tmp_path):
    path = write_project(tmp_path)
    runner = distilled(path, "train.save_every=3")
    checkpoint = runner.loop.save_dir / "epoch_3"
    first, second = run_on_two_ranks(Resumption(path, checkpoint), tmp_path)
    assert first[:3].tolist() == [0, 3, 3 * 20 + 3 * 40]
    assert torch.equal(first, second)


def test_on_fewer_ranks_the_statistics_go_on_and_the_history_begins_empty(trained, caplog):
    path, _ = trained
    checkpoint = path.parents[4] / "runs" / "toy" / "exp1" / "epoch_6"
    loaded = load_distillation(path, [*BLENDED, "train.save_dir=runs/alone", "iterations=8"])
    with enter_distillation(loaded, ALONE, str(checkpoint)) as runner:
        runner.run()
    assert "was saved on 2 ranks and this run has 1" in caplog.text
    assert len(runner.history) == 2 * 20
    assert runner.statistics["observation.state"].seen.count == 6 * 40 + 2 * 20


def test_the_command_trains_resumes_and_reports_mistakes(tmp_path):
    path = write_project(tmp_path)
    command = [sys.executable, str(ROOT / "data_collection" / "distill.py"), "--config", str(path)]

    def run(*arguments):
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT
        )

    done = run("--num_envs", "8", "--logger", "tensorboard", "--set", "train.save_every=3")
    assert done.returncode == 0, done.stderr
    assert "SWITCHING TO PHASE 2" in done.stderr
    assert (tmp_path / "runs/toy/exp1/tensorboard").is_dir()
    checkpoint = open_checkpoint(tmp_path / "runs/toy/exp1/epoch_6")
    assert json.loads(checkpoint.read_text("normalization.json"))["action"]["count"] == 240
    settings = ["--task", "vector_toy", "--set", "train.save_dir=runs/other"]
    wrong = run("--checkpoint", str(tmp_path / "none.pt"), *settings)
    assert wrong.returncode == 2
    assert "none.pt: cannot be read" in wrong.stderr


ENVIRONMENT = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
