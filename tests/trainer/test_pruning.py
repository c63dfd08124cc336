import json

import pytest

from trainer.checkpoint import record_metrics, save_checkpoint
from trainer.pruning import prune_checkpoints
from trainer.schema import CheckpointsConfig, InterfaceConfig
from trainer.validate import validation_figures


def test_old_checkpoints_are_pruned_and_the_best_one_stays(toy):
    toy.edit(
        train__epochs=7,
        train__checkpoints={
            "keep_last": 2,
            "keep_every": 3,
            "best": {"metric": "validation/loss", "mode": "max"},
        },
        validation={"fraction": 0.25, "every": 1},
    )
    assert toy.train() == 0
    lines = (toy.save_dir / "metrics.jsonl").read_text().splitlines()
    figures = [r for r in map(json.loads, lines) if "validation/loss" in r]
    interface = InterfaceConfig(chunk=4, control_hz=20, state=5, action=3)
    assert figures[0].keys() >= set(validation_figures(interface, acts=True))
    scores = [r["validation/loss"] for r in figures]
    best = 1 + max(range(7), key=scores.__getitem__)
    assert left(toy.save_dir) == {f"epoch_{n}" for n in {3, 6, 7, best}}
    assert json.loads((toy.save_dir / "best.json").read_text())["checkpoint"] == f"epoch_{best}"


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ({}, {1, 2, 3, 4, 5}),
        ({"keep_every": 2}, {2, 4, 5}),
        ({"keep_last": 2}, {4, 5}),
        ({"best": {"metric": "score"}}, {3, 5}),
        ({"best": {"metric": "score"}, "keep_every": 2}, {2, 3, 4, 5}),
        ({"best": {"metric": "nothing"}}, {1, 2, 3, 4, 5}),
    ],
)
def test_what_is_named_stays_and_so_does_the_newest(tmp_path, kept, expected):
    for epoch, score in enumerate([1.0, 2.0, 9.0, 3.0, 4.0], start=1):
        saved(tmp_path, epoch, {"score": score})
    prune_checkpoints(tmp_path, CheckpointsConfig.model_validate(kept))
    assert left(tmp_path) == {f"epoch_{n}" for n in expected}


def saved(folder, epoch, figures):
    state = {"components": {}, "training_state": {}, "texts": {}}
    record_metrics(
        save_checkpoint(folder, f"epoch_{epoch}", step=epoch, epoch=epoch, **state), figures
    )


def left(folder):
    return {path.name for path in folder.glob("epoch_*")}


def test_without_the_figure_of_the_best_nothing_is_deleted_and_that_is_said(tmp_path, caplog):
    config = CheckpointsConfig.model_validate({"keep_last": 1, "best": {"metric": "score"}})
    for epoch in (1, 2, 3):
        saved(tmp_path, epoch, {"other": 1.0})
        prune_checkpoints(tmp_path, config)
    assert left(tmp_path) == {"epoch_1", "epoch_2", "epoch_3"}
    assert "no checkpoint has the figure 'score' yet, so all are kept; there are: other" in (
        caplog.text
    )


def test_nothing_is_deleted_before_the_figure_of_the_best_was_measured_once(tmp_path, caplog):
    config = CheckpointsConfig.model_validate({"best": {"metric": "score"}})
    for epoch in (1, 2):
        saved(tmp_path, epoch, {})
        prune_checkpoints(tmp_path, config)
    assert left(tmp_path) == {"epoch_1", "epoch_2"}
    assert not caplog.text
    for epoch, figures in ((3, {"score": 5.0}), (4, {})):
        saved(tmp_path, epoch, figures)
        prune_checkpoints(tmp_path, config)
    assert left(tmp_path) == {"epoch_3", "epoch_4"}


def test_what_is_no_number_is_not_the_best(tmp_path):
    config = CheckpointsConfig.model_validate({"best": {"metric": "score"}})
    for epoch, score in enumerate([float("nan"), 1.0, 5.0, 2.0], start=1):
        saved(tmp_path, epoch, {"score": score})
        prune_checkpoints(tmp_path, config)
    assert left(tmp_path) == {"epoch_3", "epoch_4"}


def test_a_run_that_no_longer_chooses_a_best_one_has_none(tmp_path):
    saved(tmp_path, 1, {"score": 1.0})
    prune_checkpoints(tmp_path, CheckpointsConfig.model_validate({"best": {"metric": "score"}}))
    assert (tmp_path / "best.json").exists()
    prune_checkpoints(tmp_path, CheckpointsConfig(keep_last=1))
    assert not (tmp_path / "best.json").exists()
