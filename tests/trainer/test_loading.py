"""Batches that workers load, and what becomes of the workers."""

import numpy as np
import pytest
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from trainer.environment import Interface
from trainer.fake_data import FakeDataset
from trainer.loading import load_batches


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_data_end_the_training_with_their_message_alone(toy, workers):
    toy.edit(data__num_workers=workers, data__dataset__params={"damaged_from": 3})
    assert toy.train() == 2, toy.log.read_text()
    assert "error: frame_7.jpg is damaged" in toy.log.read_text()
    assert "Traceback" not in toy.log.read_text()


def test_a_worker_that_is_killed_ends_the_training(toy):
    toy.edit(data__num_workers=2, data__dataset__params={"deadly_from": 3})
    assert toy.train() == 1
    assert "is killed by signal" in toy.log.read_text()


def test_a_worker_that_is_killed_while_it_hands_a_batch_over_is_no_riddle(monkeypatch):
    def gone(self):
        raise ConnectionResetError(104, "Connection reset by peer")

    data = FakeDataset(Interface(1, 4, 20.0, 5, 3))
    batches = load_batches(data, [np.arange(4)], workers=1, pin_memory=False)
    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "_next_data", gone)
    with pytest.raises(RuntimeError, match="killed by signal does, most often for want of memory"):
        next(batches)
