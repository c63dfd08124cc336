"""A run that goes on on another number of ranks, or another kind of device."""

import json

import torch

from tests.support.ports import free_port
from trainer.checkpoint import newest_checkpoint
from trainer.files import sha256_of


def test_other_world_sizes_go_on_and_say_so(toy):
    toy.edit(logging=[{"type": "tensorboard"}])
    assert toy.train() == 0
    assert toy.train("--set", "train.epochs=4", ranks=2) == 0, toy.log.read_text()
    assert "saved on 1 ranks and this run has 2" in toy.log.read_text()
    steps = {
        n: torch.load(toy.save_dir / f"epoch_{n}" / "training_state.pt", weights_only=True)["step"]
        for n in (3, 4)
    }
    assert steps == {3: 24, 4: 16}  # eight steps a pass on one rank, four on two
    assert toy.train("--set", "train.epochs=5") == 0, toy.log.read_text()
    assert "epoch_4 (step 16)" in toy.log.read_text()
    last = torch.load(toy.save_dir / "epoch_5" / "training_state.pt", weights_only=True)
    assert last["step"] == 40
    assert set(range(1, 25)) <= toy.losses().keys()  # what one rank had logged is still there


def test_what_was_logged_on_other_ranks_stays_however_often_a_run_goes_on(toy):
    assert toy.train() == 0
    one_rank = toy.losses()
    for epochs in (4, 5):
        assert toy.train("--set", f"train.epochs={epochs}", ranks=2) == 0, toy.log.read_text()
    lines = (toy.save_dir / "metrics.jsonl").read_text().splitlines()
    losses = [(r["step"], r["train/loss"]) for r in map(json.loads, lines) if "train/loss" in r]
    assert losses[:24] == list(one_rank.items())
    assert [step for step, _ in losses[24:]] == list(range(13, 21))  # four a pass on two ranks


def test_ranks_that_see_other_checkpoints_are_refused(toy):
    toy.edit(train__epochs=2)
    assert toy.train(ranks=2) == 0
    port = free_port()
    own_disk = ("--set", "train.save_dir=own_disk")
    ranks = [
        toy.start("--set", "train.epochs=4", *words, rank=rank, world_size=2, port=port)
        for rank, words in enumerate([(), own_disk])
    ]
    for rank in ranks:
        rank.join(60)
    assert [rank.exitcode for rank in ranks] == [2, 2], toy.log.read_text()
    assert "the ranks would not start from the same checkpoint: rank 0 sees" in toy.log.read_text()
    assert sorted(p.name for p in toy.save_dir.glob("epoch_*")) == ["epoch_1", "epoch_2"]


def test_a_run_goes_on_on_another_kind_of_device_and_says_so(toy):
    assert toy.train() == 0
    folder = toy.save_dir / "epoch_3"
    state = torch.load(folder / "training_state.pt", weights_only=True)
    state["rng"][0] |= {"noise": torch.zeros(16, dtype=torch.uint8), "cuda": torch.zeros(16)}
    torch.save(state, folder / "training_state.pt")  # as a GPU leaves it
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["training_state.pt"]["sha256"] = sha256_of(folder / "training_state.pt")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert toy.train("--set", "train.epochs=4") == 0, toy.log.read_text()
    assert "saved on cuda and this run has cpu: it goes on from the same" in toy.log.read_text()
    assert newest_checkpoint(toy.save_dir).epoch == 4
