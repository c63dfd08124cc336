import pytest
import torch

from data_collection.cluster.checkpoint_copy import get_checkpoint, put_checkpoint
from data_collection.cluster.storage import DamagedError, Storage
from trainer.checkpoint import open_checkpoint, save_checkpoint


def checkpoint_with(folder, config):
    """Return a checkpoint; all those made here have the same weights."""
    path = save_checkpoint(
        folder,
        "epoch_1",
        components={"decoder": {"w": torch.arange(4.0)}},
        training_state={"step": 1},
        texts={"config.yaml": config},
        step=1,
        epoch=1,
    )
    return open_checkpoint(path)


def test_experiments_with_equal_weights_share_a_storage(tmp_path):
    """As the runs of a sweep over ``phase2`` do after their first round."""
    storage = Storage(str(tmp_path / "store"))
    runs = [checkpoint_with(tmp_path / name, f"save_dir: {name}\n") for name in ("a", "second")]
    assert runs[0].weights_sha256 == runs[1].weights_sha256
    places = [put_checkpoint(storage, run) for run in runs]
    for run, place in zip(runs, places, strict=True):
        copy = tmp_path / "copies" / run.folder.parent.name
        get_checkpoint(storage, place, copy)
        assert open_checkpoint(copy).read_text("config.yaml") == run.read_text("config.yaml")


def test_a_checkpoint_is_brought_once_and_its_manifest_last(tmp_path, monkeypatch):
    storage, put = Storage(str(tmp_path / "store")), []
    copy = storage.put
    monkeypatch.setattr(storage, "put", lambda path, key: (put.append(path.name), copy(path, key)))
    checkpoint = checkpoint_with(tmp_path, "seed: 1\n")
    place = put_checkpoint(storage, checkpoint)
    assert sorted(put) == ["config.yaml", "decoder.pt", "manifest.json", "training_state.pt"]
    assert put[-1] == "manifest.json"
    assert put_checkpoint(storage, checkpoint) == place
    assert len(put) == 4


def test_a_damaged_copy_is_no_checkpoint(tmp_path):
    storage = Storage(str(tmp_path / "store"))
    place = put_checkpoint(storage, checkpoint_with(tmp_path, "seed: 1\n"))
    config = tmp_path / "store" / place / "config.yaml"
    config.write_text("seed: 2\n")
    with pytest.raises(DamagedError, match=r"config\.yaml is damaged"):
        get_checkpoint(storage, place, tmp_path / "copy")
