import json

import pytest
import torch

from trainer.checkpoint import BEST_NOTE, resolve_checkpoint, save_checkpoint
from trainer.errors import CheckpointError


def save(run, epoch):
    components = {"net": {"weight": torch.full((2,), float(epoch))}}
    details = {"training_state": {}, "texts": {}, "step": epoch, "epoch": epoch}
    return save_checkpoint(run, f"epoch_{epoch}", components=components, **details)


@pytest.fixture
def run(tmp_path):
    run = tmp_path / "run"
    for epoch in (1, 2, 3):
        save(run, epoch)
    (run / BEST_NOTE).write_text(json.dumps({"checkpoint": "epoch_2", "validation/loss": 0.5}))
    return run


def test_a_checkpoint_is_named_by_its_folder_its_run_or_as_the_best_one(run):
    for name, epoch in (("epoch_1", 1), ("", 3), ("best", 2)):
        assert resolve_checkpoint(run / name).epoch == epoch


def test_the_best_one_of_a_run_that_notes_none_is_refused_with_the_reason(run):
    (run / BEST_NOTE).unlink()
    with pytest.raises(CheckpointError, match=r"there is no .*best.json; .*train.checkpoints.best"):
        resolve_checkpoint(run / "best")


@pytest.mark.parametrize("text", ["half of it is wri", "[]", "{}"])
def test_a_damaged_note_is_named(run, text):
    (run / BEST_NOTE).write_text(text)
    with pytest.raises(CheckpointError, match=r"best.json is damaged"):
        resolve_checkpoint(run / "best")


def test_the_best_one_that_was_deleted_is_named(run):
    (run / BEST_NOTE).write_text(json.dumps({"checkpoint": "epoch_9"}))
    with pytest.raises(CheckpointError, match=r"epoch_9 is not a complete checkpoint"):
        resolve_checkpoint(run / "best")


def test_a_run_may_be_called_best(tmp_path):
    save(tmp_path / "best", 4)
    assert resolve_checkpoint(tmp_path / "best").epoch == 4


def test_of_an_experiment_of_many_runs_the_best_round_is_suggested_else_the_newest(tmp_path):
    for index in (0, 1):
        save(tmp_path / "train" / f"round_{index:03d}", 1)
    with pytest.raises(CheckpointError, match=r"the newest run below it is .*round_001"):
        resolve_checkpoint(tmp_path)
    best = {"best_round": 0, "best_checkpoint": "train/round_000/epoch_1"}
    (tmp_path / "summary.json").write_text(json.dumps(best))
    message = r"of the rounds in it 0 is the best, which trained .*train/round_000/epoch_1$"
    with pytest.raises(CheckpointError, match=message):
        resolve_checkpoint(tmp_path)
