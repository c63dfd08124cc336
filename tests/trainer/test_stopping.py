"""Training that is asked to stop."""

import json
import signal

import pytest

from tests.support.toy import uninterrupted
from trainer.checkpoint import newest_checkpoint


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal_saves_and_the_run_goes_on_from_there(toy, same_checkpoint, number):
    reference = uninterrupted(toy)
    stop = json.dumps([{"type": "killer", "params": {"step": 13, "signal_number": int(number)}}])
    assert toy.train("--set", f"logging={stop}") == 128 + number, toy.log.read_text()
    interrupt = json.loads((toy.save_dir / "interrupt" / "manifest.json").read_text())
    assert interrupt["step"] == 14
    assert toy.train() == 0
    assert not (toy.save_dir / "interrupt").exists()
    assert same_checkpoint(reference / "epoch_3", toy.save_dir / "epoch_3") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_leaves_the_workers_at_work_until_it_is_saved(toy, number):
    toy.edit(data__num_workers=1)
    params = {"step": 13, "signal_number": int(number), "group": True}
    stop = json.dumps([{"type": "killer", "params": params}])
    assert toy.train("--set", f"logging={stop}") == 128 + number, toy.log.read_text()
    assert newest_checkpoint(toy.save_dir).folder.name == "interrupt"


def test_a_signal_in_the_last_step_changes_nothing(toy):
    stop = json.dumps([{"type": "killer", "params": {"step": 23, "signal_number": 15}}])
    assert toy.train("--set", f"logging={stop}") == 0, toy.log.read_text()
    assert newest_checkpoint(toy.save_dir).folder.name == "epoch_3"


def test_a_signal_at_the_end_of_an_epoch_that_is_not_saved_saves_all_the_same(toy):
    toy.edit(train__save_every=3)
    stop = json.dumps([{"type": "killer", "params": {"step": 7, "signal_number": 15}}])
    assert toy.train("--set", f"logging={stop}") == 128 + signal.SIGTERM
    interrupt = json.loads((toy.save_dir / "interrupt" / "manifest.json").read_text())
    assert interrupt["step"] == 8  # an epoch has 8 steps
