import json

import pytest

from trainer.checkpoint import record_metrics, save_checkpoint
from trainer.pruning import prune_checkpoints
from trainer.schema import CheckpointsConfig


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
    scores = [r["validation/loss"] for r in map(json.loads, lines) if "validation/loss" in r]
    best = 1 + max(range(7), key=scores.__getitem__)
    left = {p.name for p in toy.save_dir.glob("epoch_*")}
    assert left == {f"epoch_{n}" for n in {3, 6, 7, best}}
    assert json.loads((toy.save_dir / "best.json").read_text())["checkpoint"] == f"epoch_{best}"


@pytest.mark.parametrize(
    ("kept", "left"),
    [
        ({}, {1, 2, 3, 4, 5}),
        ({"keep_every": 2}, {2, 4, 5}),
        ({"keep_last": 2}, {4, 5}),
        ({"best": {"metric": "score"}}, {3, 5}),
        ({"best": {"metric": "score"}, "keep_every": 2}, {2, 3, 4, 5}),
        ({"best": {"metric": "nothing"}}, {1, 2, 3, 4, 5}),
    ],
)
def test_what_is_named_stays_and_so_does_the_newest(tmp_path, kept, left):
    for epoch, score in enumerate([1.0, 2.0, 9.0, 3.0, 4.0], start=1):
        state = {"components": {}, "training_state": {}, "texts": {}}
        folder = save_checkpoint(tmp_path, f"epoch_{epoch}", step=epoch, epoch=epoch, **state)
        record_metrics(folder, {"score": score})
    prune_checkpoints(tmp_path, CheckpointsConfig.model_validate(kept))
    assert {path.name for path in tmp_path.glob("epoch_*")} == {f"epoch_{n}" for n in left}


def test_without_the_figure_of_the_best_nothing_is_deleted_and_that_is_said(toy):
    best = {"metric": "validation/los", "mode": "min"}
    toy.edit(
        train__epochs=3,
        train__checkpoints={"keep_last": 1, "best": best},
        validation={"fraction": 0.25, "every": 1},
    )
    assert toy.train() == 0
    assert "no checkpoint has the figure 'validation/los' yet" in toy.log.read_text()
    assert "validation/loss" in toy.log.read_text()
    assert len(list(toy.save_dir.glob("epoch_*"))) == 3
