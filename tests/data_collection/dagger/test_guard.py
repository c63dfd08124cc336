"""Who may drive: finite students, and those that did not do worse."""

import logging

import pytest
import torch

from data_collection.dagger.guard import (
    choose_driver,
    clean_student,
    does_worse,
    set_aside_if_worse,
)
from data_collection.dagger.records import RoundRecord
from trainer.checkpoint import open_checkpoint, save_checkpoint
from trainer.errors import UserError
from trainer.evaluation import Evaluation, wilson_interval


def record(round, successes=5, mean_return=10.0, set_aside=False):
    evaluation = Evaluation(
        episodes=10,
        success_rate=successes / 10,
        success_interval=wilson_interval(successes, 10),
        mean_return=mean_return,
        std_return=1.0,
        mean_length=5.0,
        seconds_per_decision=0.0,
        seconds=1.0,
    )
    return RoundRecord(
        round=round,
        data=f"data/round_{round:03d}",
        checkpoint=f"train/round_{round:03d}/epoch_1",
        driver=None,
        collected_successes=0,
        collected_returns=[],
        lengths=[],
        labels=0,
        expert_queries=0,
        actors={},
        evaluation=evaluation,
        label_error=None,
        labelling_seconds=0.0,
        seconds={},
        gradient_steps=1,
        videos=[],
        set_aside=set_aside,
    )


def save(folder, round, weight, epoch=1):
    return save_checkpoint(
        folder / "train" / f"round_{round:03d}",
        f"epoch_{epoch}",
        components={"net": {"weight": torch.tensor([1.0, weight])}},
        training_state={},
        texts={},
        step=epoch,
        epoch=epoch,
    )


def test_the_newest_clean_checkpoint_is_the_student_and_broken_ones_are_named(tmp_path, caplog):
    for epoch, weight in enumerate((2.0, 3.0, float("nan"), float("inf")), start=1):
        save(tmp_path, 0, weight, epoch)
    run = tmp_path / "train" / "round_000"
    assert clean_student(run, previous=None).folder == run / "epoch_2"
    refused = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(refused) == 2
    assert "epoch_4 holds NaN or infinite weights" in refused[0]


def test_without_a_clean_checkpoint_the_previous_student_stays_or_the_run_ends(tmp_path):
    previous = open_checkpoint(save(tmp_path, 0, 1.0))
    save(tmp_path, 1, float("nan"))
    run = tmp_path / "train" / "round_001"
    assert clean_student(run, previous) is previous
    with pytest.raises(UserError, match="training has left no student with finite weights"):
        clean_student(run, None)


def test_a_student_that_was_set_aside_does_not_drive(tmp_path):
    for round in (0, 1):
        save(tmp_path, round, 1.0)
    driver = choose_driver(tmp_path, [record(0), record(1, set_aside=True)])
    assert driver.folder.parent.name == "round_000"


def test_worse_means_below_the_interval_of_success_or_two_standard_errors_of_return():
    # Wilson's interval of 5 in 10 begins at 0.237; the standard error of the return is 0.316.
    assert does_worse(record(1, successes=2), record(0))
    assert not does_worse(record(1, successes=3), record(0))
    assert does_worse(record(1, mean_return=9.3), record(0))
    assert not does_worse(record(1, mean_return=9.4), record(0))


def test_the_better_student_is_kept_only_when_asked_for(caplog):
    earlier = [record(0, successes=9), record(1, successes=1, set_aside=True)]
    for keep in (True, False):
        worse = record(2, successes=2)
        set_aside_if_worse(worse, earlier, keep=keep)
        assert worse.set_aside is keep
    assert caplog.text.count("round 2 does worse than round 0 on the same seeds") == 2
    assert caplog.text.count("round 0 drives on") == 1
