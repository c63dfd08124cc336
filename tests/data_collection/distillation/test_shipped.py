"""Every shipped distillation is built, learns in each stage and is resumed."""

from pathlib import Path

import pytest
import torch

from data_collection.distillation.launch import enter_distillation
from data_collection.distillation.student import load_distillation
from tests.support.vector_toy import ALONE, figures

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "experiment_training" / "distillation").rglob("distillation.yaml"))


@pytest.fixture(params=SHIPPED, ids=lambda path: "/".join(path.parts[-3:-1]))
def settings(request):
    """Its YAML, and what makes it short: three iterations of 104 transitions."""
    return request.param, [
        "num_envs=4",
        "steps_per_iteration=26",
        "iterations=3",
        "algorithm.phase1_iterations=1",
        "algorithm.num_learning_epochs=1",
        "train.log_every=1",
        "evaluation=null",
        "logging=[]",
    ]


def finished(settings, save_dir, *more, resume="auto"):
    """The parameters at the beginning and at the end."""
    path, values = settings
    loaded = load_distillation(path, [*values, f"train.save_dir={save_dir}", *more])
    with enter_distillation(loaded, ALONE, str(resume)) as runner:
        parameters = dict(runner.loop.policy.components.named_parameters())
        initial = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        runner.run()
    return initial, parameters


def test_it_learns_in_both_stages(settings, tmp_path):
    initial, learnt = finished(settings, tmp_path)
    rows = figures(tmp_path)
    assert [row["Distillation/training_phase"] for row in rows] == [1, 2, 2]
    assert [row["Buffer/size"] for row in rows] == [104, 208, 312]
    for name, parameter in learnt.items():
        assert parameter.isfinite().all(), name
        assert not torch.equal(parameter, initial[name]), name
    assert (tmp_path / "epoch_3").is_dir()


def test_it_is_resumed_with_the_same_bits(settings, tmp_path):
    _, whole = finished(settings, tmp_path / "whole", "train.save_every=2")
    _, again = finished(settings, tmp_path / "again", resume=tmp_path / "whole" / "epoch_2")
    for name, parameter in whole.items():
        assert torch.equal(parameter, again[name]), name


def test_there_are_some():
    assert len(SHIPPED) >= 5
