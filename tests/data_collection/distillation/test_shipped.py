"""Every shipped distillation is built and runs two iterations, one in each stage."""

from pathlib import Path

import pytest
import torch

from data_collection.distillation.launch import enter_distillation
from data_collection.distillation.student import load_distillation
from tests.support.vector_toy import ALONE, figures

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "experiment_training" / "distillation").rglob("distillation.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_it_runs(path, tmp_path):
    settings = [
        "num_envs=4",
        "steps_per_iteration=26",
        "iterations=2",
        "algorithm.phase1_iterations=1",
        "algorithm.num_learning_epochs=1",
        f"train.save_dir={tmp_path}",
        "train.log_every=1",
        "evaluation=null",
        "logging=[]",
    ]
    with enter_distillation(load_distillation(path, settings), ALONE) as runner:
        learnable = dict(runner.loop.policy.components.named_parameters())
        initial = {name: parameter.detach().clone() for name, parameter in learnable.items()}
        runner.run()
    rows = figures(tmp_path)
    assert [row["Distillation/training_phase"] for row in rows] == [1, 2]
    assert [row["Buffer/size"] for row in rows] == [104, 208]
    for name, parameter in learnable.items():
        assert parameter.isfinite().all(), name
        assert not torch.equal(parameter, initial[name]), name
    assert (tmp_path / "epoch_2").is_dir()


def test_there_are_some():
    assert len(SHIPPED) >= 5
