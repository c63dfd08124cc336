"""Two ranks, each with environments of its own, and the command line."""

import json
import subprocess
import sys
from pathlib import Path

import torch

from tests.support.ranks import run_on_two_ranks
from tests.support.vector_toy import distilled, figures, write_project
from trainer.checkpoint import open_checkpoint
from trainer.distributed import Ranks

ROOT = Path(__file__).parents[3]


def train(path: Path, rank: int) -> torch.Tensor:
    torch.set_num_threads(1)
    ranks = Ranks(rank, 2, torch.device("cpu"))
    runner = distilled(path, "train.save_every=3", ranks=ranks)
    weights = torch.cat([p.detach().flatten() for p in runner.loop.policy.components.parameters()])
    place = runner.setting.env.place.flatten()
    return torch.cat([place, weights, runner.statistics["action"].mean.float()])


class Work:
    """Trains in a folder; an object, so that child processes can be told which."""

    def __init__(self, path):
        self.path = path

    def __call__(self, rank):
        return train(self.path, rank)


def test_ranks_have_their_own_environments_and_the_same_student(tmp_path):
    path = write_project(tmp_path)
    first, second = run_on_two_ranks(Work(path), tmp_path)
    assert not torch.equal(first[:12], second[:12])
    assert torch.equal(first[12:], second[12:])
    save_dir = tmp_path / "runs" / "toy" / "exp1"
    files = {file.name for file in (save_dir / "epoch_6").iterdir()}
    assert {"distillation_rank_0.safetensors", "distillation_rank_1.safetensors"} <= files
    assert len(figures(save_dir)) == 6


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
