"""Batches that workers load, and what becomes of the workers."""

import pytest


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
