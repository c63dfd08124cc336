import contextlib
import fcntl
import json
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml

from tests.support.toy import uninterrupted
from trainer.checkpoint import checkpoints_of, leftovers, newest_checkpoint, save_checkpoint

VARIANTS = {
    "plain": {},
    "ema": {"train__ema_decay": 0.9},
    "schedule_free": {
        "train__optimizer": {"type": "schedule_free_radam", "params": {"lr": 1e-2}},
    },
    "accumulate": {"train__accumulate": 2, "data__batch_size": 8},
    "validated": {"validation": {"fraction": 0.25, "every": 1}},
    "workers": {"data__num_workers": 1},
    "steps": {"train__epochs": None, "train__steps": 20, "train__save_every": 6},
}


def last_epoch(folder):
    return max(folder.glob("epoch_*"), key=lambda p: int(p.name.split("_")[1])).name


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_killed_at_any_step_ends_with_the_same_bits(toy, same_checkpoint, variant):
    toy.edit(**VARIANTS[variant])
    reference = uninterrupted(toy)
    losses = toy.losses(reference)
    rng = random.Random(variant)
    for step in sorted(rng.sample(range(1, max(losses)), 3)):
        kill = json.dumps([{"type": "killer", "params": {"step": step}}])
        assert toy.train("--set", f"logging={kill}") == -signal.SIGKILL, toy.log.read_text()
    assert toy.train() == 0, toy.log.read_text()

    name = last_epoch(reference)
    assert same_checkpoint(reference / name, toy.save_dir / name) == []
    assert toy.losses() == losses


def test_a_kill_during_the_last_review_costs_neither_the_best_one_nor_the_pruning(toy):
    best = {"metric": "validation/loss", "mode": "max"}
    toy.edit(
        train__checkpoints={"keep_last": 1, "best": best},
        validation={"fraction": 0.25, "every": 1},
    )
    reference = uninterrupted(toy)
    params = {"step": max(toy.losses(reference)), "figure": "validation/loss"}
    kill = json.dumps([{"type": "killer", "params": params}])
    assert toy.train("--set", f"logging={kill}") == -signal.SIGKILL, toy.log.read_text()
    assert (toy.save_dir / "epoch_2").exists()  # as it was not pruned yet
    assert toy.train() == 0, toy.log.read_text()
    for folder in (reference, toy.save_dir):
        assert not (folder / "epoch_2").exists()
    assert (toy.save_dir / "best.json").read_text() == (reference / "best.json").read_text()


def test_two_ranks_killed_end_with_the_same_bits(toy, same_checkpoint):
    reference = uninterrupted(toy, ranks=2)
    kill = json.dumps([{"type": "killer", "params": {"step": 6}}])
    assert toy.train("--set", f"logging={kill}", ranks=2) == -signal.SIGKILL
    assert toy.train(ranks=2) == 0, toy.log.read_text()
    assert same_checkpoint(reference / "epoch_3", toy.save_dir / "epoch_3") == []


def test_a_finished_run_started_again_says_so_and_changes_nothing(toy):
    assert toy.train() == 0
    before = {file: file.stat().st_mtime_ns for file in toy.save_dir.rglob("*.pt")}
    toy.log.write_text("")
    assert toy.train() == 0
    line, *others = toy.log.read_text().splitlines()
    assert line.endswith(
        "epoch_3 is at step 24: this run is finished, nothing is left to train; a larger "
        "train.epochs goes on"
    )
    assert others == []
    assert {file: file.stat().st_mtime_ns for file in toy.save_dir.rglob("*.pt")} == before


@pytest.mark.parametrize("seed", range(2))
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(toy, same_checkpoint, seed):
    # Random wall-clock moments also hit the writing of checkpoints, which steps alone would not.
    toy.edit(train__epochs=12, train__ema_decay=0.9, validation={"fraction": 0.25, "every": 2})
    reference = uninterrupted(toy)
    rng = random.Random(seed)
    for _ in range(4):
        child = toy.start()
        time.sleep(rng.uniform(0.2, 1.5))
        child.kill()
        child.join()
    assert toy.train() == 0, toy.log.read_text()
    assert same_checkpoint(reference / "epoch_12", toy.save_dir / "epoch_12") == []
    assert toy.losses() == toy.losses(reference)
    assert not [p for p in toy.save_dir.iterdir() if p.name.endswith((".tmp", ".deleted"))]


def test_validating_does_not_change_the_bits_of_training(toy, same_checkpoint):
    toy.edit(validation={"fraction": 0.25, "every": 1})
    reference = uninterrupted(toy)
    toy.edit(validation={"fraction": 0.25, "every": 100})
    assert toy.train() == 0, toy.log.read_text()
    assert same_checkpoint(reference / "epoch_3", toy.save_dir / "epoch_3") == []


def test_a_longer_run_goes_on_from_the_shorter_one(toy):
    assert toy.train() == 0
    assert toy.train("--set", "train.epochs=4") == 0
    assert max(toy.losses()) == 32


def test_a_longer_run_replaces_the_epoch_in_which_the_shorter_one_ended(toy):
    toy.edit(train__epochs=None, train__steps=10, train__save_every=4)
    assert toy.train() == 0
    assert newest_checkpoint(toy.save_dir).step == 10  # epoch_3, which is over at step 12
    assert toy.train("--set", "train.steps=20") == 0, toy.log.read_text()
    steps = {c.folder.name: c.step for c in checkpoints_of(toy.save_dir)}
    assert steps == {f"epoch_{n}": 4 * n for n in range(1, 6)}


@pytest.mark.parametrize(("before", "now"), [("steps", "epochs"), ("epochs", "steps")])
def test_what_a_length_is_counted_in_may_not_change(toy, before, now):
    # epoch_20 would be step 20 of the one and step 160 of the other, and the newer one pruned.
    lengths = {"steps": {"train__steps": 20, "train__epochs": None, "train__save_every": 1}}
    toy.edit(train__checkpoints={"keep_last": 1}, **lengths.get(before, {}))
    assert toy.train() == 0, toy.log.read_text()
    kept = newest_checkpoint(toy.save_dir)
    change = ("--set", f"train.{before}=null", "--set", f"train.{now}=40")
    assert toy.train(*change) == 2
    assert f"train.{now}: saved null, now 40" in toy.log.read_text()
    assert newest_checkpoint(toy.save_dir).step == kept.step


def test_what_is_in_the_way_of_an_epoch_is_named_at_the_start(toy):
    toy.save_dir.mkdir(parents=True)
    (toy.save_dir / "epoch_3").write_text("a file")
    assert toy.train() == 2
    assert f"{toy.save_dir / 'epoch_3'} is not a complete checkpoint" in toy.log.read_text()
    assert "Traceback" not in toy.log.read_text()


def test_resuming_with_another_configuration_is_refused_with_the_differences(toy):
    assert toy.train() == 0
    assert toy.train("--set", "train.clip_grad_norm=2.0", "--set", "data.batch_size=8") == 2
    message = toy.log.read_text()
    assert "data.batch_size: saved 16, now 8" in message
    assert "train.clip_grad_norm: saved 1.0, now 2.0" in message
    assert "--set train.save_dir=…" in message


def test_what_cannot_change_the_weights_may_change(toy, same_checkpoint):
    toy.edit(validation={"fraction": 0.25, "every": 1})
    reference = uninterrupted(toy)
    kill = json.dumps([{"type": "killer", "params": {"step": 13}}])
    assert toy.train("--set", f"logging={kill}") == -signal.SIGKILL
    plugins = yaml.safe_load(toy.config_path.read_text())["plugins"]
    toy.edit(
        plugins=["components.losses.huber", *plugins],
        train__log_every=3,
        train__checkpoints={"keep_last": 1},
        validation={"fraction": 0.25, "every": 2, "max_samples": 5},
    )
    assert toy.train() == 0, toy.log.read_text()
    assert "going on from" in toy.log.read_text()
    assert same_checkpoint(reference / "epoch_3", toy.save_dir / "epoch_3") == []
    assert [path.name for path in toy.save_dir.glob("epoch_*")] == ["epoch_3"]


@pytest.mark.parametrize("changes", [{"validation__fraction": 0.5}, {"validation": None}])
def test_who_is_held_out_may_not_change(toy, changes):
    toy.edit(validation={"fraction": 0.25, "every": 1}, train__epochs=1)
    assert toy.train() == 0
    toy.edit(train__epochs=2, **changes)
    assert toy.train() == 2
    assert "validation.fraction: saved 0.25, now" in toy.log.read_text()


def test_resuming_with_another_model_file_is_refused(toy):
    assert toy.train() == 0
    path = toy.root / "experiment_models/toy/exp1/action_decoder.yaml"
    path.write_text(path.read_text().replace("dropout: 0.1", "dropout: 0.2"))
    assert toy.train("--set", "train.epochs=4") == 2
    assert "action_decoder.params.dropout: saved 0.1, now 0.2" in toy.log.read_text()


def test_never_refuses_to_overwrite(toy):
    assert toy.train("--resume", "never") == 0
    assert toy.train("--resume", "never") == 2
    assert "would be overwritten" in toy.log.read_text()


def test_a_given_checkpoint_is_resumed_into_another_folder(toy, same_checkpoint):
    reference = uninterrupted(toy)
    assert toy.train("--resume", str(reference / "epoch_1")) == 0, toy.log.read_text()
    assert min(toy.losses()) == 9
    assert same_checkpoint(reference / "epoch_3", toy.save_dir / "epoch_3") == []


def test_an_altered_checkpoint_is_named_and_nothing_is_written(toy):
    assert toy.train() == 0
    path = toy.save_dir / "epoch_3" / "action_decoder.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert toy.train("--set", "train.epochs=4") == 2
    assert f"{path} was altered or damaged" in toy.log.read_text()
    assert not (toy.save_dir / "epoch_4").exists()


def test_a_checkpoint_with_a_missing_file_is_named(toy):
    assert toy.train() == 0
    path = toy.save_dir / "epoch_3" / "training_state.pt"
    path.unlink()
    assert toy.train("--set", "train.epochs=4") == 2
    assert f"{path} is missing" in toy.log.read_text()


def test_an_interrupt_within_an_epoch_is_newer_than_that_epoch(toy):
    # The first run ends within its second epoch, which the second one then trains to its end.
    toy.edit(train__epochs=None, train__steps=10, train__save_every=8)
    assert toy.train() == 0, toy.log.read_text()
    stop = json.dumps([{"type": "killer", "params": {"step": 13, "signal_number": 15}}])
    longer = ("--set", "train.steps=20")
    assert toy.train(*longer, "--set", f"logging={stop}") == 143, toy.log.read_text()
    assert newest_checkpoint(toy.save_dir).step == 14
    assert toy.train(*longer) == 0
    assert "going on from" in toy.log.read_text()
    assert "interrupt (step 14)" in toy.log.read_text()


def test_other_data_than_before_are_refused(toy):
    assert toy.train() == 0
    toy.edit(train__epochs=4)
    plugin = toy.root / "fake.py"
    plugin.write_text(plugin.read_text().replace("episodes: int = 8", "episodes: int = 10"))
    assert toy.train() == 2
    message = toy.log.read_text()
    assert "was trained on 128 samples, and there are 160 now" in message
    assert not (toy.save_dir / "epoch_4").exists()


def test_as_many_samples_of_other_data_are_refused(toy):
    plugin = toy.root / "fake.py"
    plain = plugin.read_text()
    known = "        self.fetched = 0\n\n    def identity(self):\n        return {!r}\n"
    plugin.write_text(plain.replace("        self.fetched = 0\n", known.format("first")))
    assert toy.train() == 0, toy.log.read_text()
    toy.edit(train__epochs=4)
    plugin.write_text(plain.replace("        self.fetched = 0\n", known.format("second")))
    assert toy.train() == 2
    assert "on 128 samples, and there are others, though as many, now" in toy.log.read_text()


def test_a_second_training_in_the_same_folder_is_refused(toy):
    toy.edit(train__epochs=400, train__save_every=400)
    first = toy.start()
    while not (toy.save_dir / "metrics.jsonl").exists():
        time.sleep(0.05)
    assert toy.train() == 2
    first.kill()
    first.join()
    assert "another process trains in" in toy.log.read_text()


def test_a_folder_in_which_another_process_trains_is_not_even_read(toy):
    assert toy.train() == 0
    (toy.save_dir / "epoch_3" / "manifest.json").write_text("half of it is wri")
    with (toy.save_dir / ".lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        assert toy.train() == 2
    assert "another process trains in" in toy.log.read_text()


def test_a_copied_run_folder_goes_on(toy):
    assert toy.train() == 0
    elsewhere = toy.root / "moved"
    shutil.copytree(toy.save_dir, elsewhere)
    arguments = ("--set", f"train.save_dir={elsewhere}", "--set", "train.epochs=4")
    assert toy.train(*arguments) == 0, toy.log.read_text()
    assert torch.load(elsewhere / "epoch_4" / "training_state.pt", weights_only=True)["step"] == 32


def test_a_warm_started_run_goes_on_without_what_it_started_from(toy):
    assert toy.train("--set", "train.save_dir=runs/first", "--set", "train.epochs=1") == 0
    toy.edit(train__load_dir="runs/first")
    assert toy.train("--set", "train.epochs=1") == 0
    shutil.rmtree(toy.root / "runs" / "first")
    assert toy.train("--set", "train.epochs=2") == 0
    assert (toy.save_dir / "epoch_2").is_dir()


def save(save_dir, name, step):
    components = {"net": {"weight": torch.ones(2)}}
    details = {"training_state": {}, "texts": {}, "step": step, "epoch": 1}
    return save_checkpoint(save_dir, name, components=components, **details)


def test_a_crash_while_an_old_interrupt_is_deleted_leaves_a_run_that_goes_on(tmp_path, monkeypatch):
    save(tmp_path, "interrupt", 1)
    with monkeypatch.context() as patch:
        patch.setattr("trainer.checkpoint.shutil.rmtree", half_deleted)
        save(tmp_path, "interrupt", 2)
    newest = newest_checkpoint(tmp_path)
    assert (newest.folder.name, newest.step) == ("interrupt", 2)


@pytest.mark.parametrize("name", ["interrupt", "epoch_1"])
@pytest.mark.parametrize("renames", range(4))
def test_a_kill_between_any_two_renames_leaves_the_old_checkpoint_or_the_new(
    tmp_path, monkeypatch, name, renames
):
    save(tmp_path, name, 1)
    left = iter(range(renames))
    rename = Path.rename

    def rename_or_die(source, target):
        if next(left, None) is None:
            raise KeyboardInterrupt  # as a kill does, it passes every handler
        return rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename_or_die)
        with contextlib.suppress(KeyboardInterrupt):
            save(tmp_path, name, 2)
    assert newest_checkpoint(tmp_path).step == (1 if renames < 2 else 2)
    for folder in leftovers(tmp_path):
        shutil.rmtree(folder)
    left_behind = [p.name for p in tmp_path.iterdir()]
    assert left_behind == ([f".{name}.replaced"] if renames == 1 else [name])
    save(tmp_path, name, 3)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def half_deleted(folder, ignore_errors=False):
    (folder / "manifest.json").unlink(missing_ok=True)
