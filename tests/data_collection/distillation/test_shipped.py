"""Every shipped distillation is built and runs two iterations, one in each stage."""

from pathlib import Path

import pytest

from tests.support.vector_toy import distilled, figures

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "experiment_training" / "distillation").rglob("distillation.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_it_runs(path, tmp_path):
    runner = distilled(
        path,
        "num_envs=4",
        "steps_per_iteration=26",
        "iterations=2",
        "algorithm.phase1_iterations=1",
        "algorithm.num_learning_epochs=1",
        f"train.save_dir={tmp_path}",
        "train.log_every=1",
        "evaluation=null",
        "logging=[]",
    )
    rows = figures(tmp_path)
    assert [row["Distillation/training_phase"] for row in rows] == [1, 2]
    assert [row["Buffer/size"] for row in rows] == [104, 208]
    for name, parameter in runner.loop.policy.components.named_parameters():
        assert parameter.isfinite().all(), name
    assert (tmp_path / "epoch_2").is_dir()


def test_there_are_some():
    assert len(SHIPPED) >= 5
