import numpy as np
import pytest

from trainer.sampling import SampleOrder


def visited(order, steps):
    return np.concatenate([np.concatenate(order.micro_batches(s)) for s in range(steps)])


def test_a_pass_visits_every_sample_once_and_the_next_pass_in_another_order():
    order = SampleOrder(np.arange(100, 148), batch_size=8, seed=3)
    first, second = visited(order, 6), visited(order, 12)[48:]
    assert sorted(first) == list(range(100, 148)) == sorted(second)
    assert list(first) != list(second)


def test_the_order_depends_on_the_step_alone():
    fresh = SampleOrder(np.arange(50), batch_size=4, seed=1)
    used = SampleOrder(np.arange(50), batch_size=4, seed=1)
    visited(used, 40)
    assert [b.tolist() for b in used.micro_batches(7)] == [
        b.tolist() for b in fresh.micro_batches(7)
    ]
    assert next(fresh.from_step(7, 8)).tolist() == fresh.micro_batches(7)[0].tolist()


@pytest.mark.parametrize(("world", "accumulate"), [(2, 1), (1, 2), (2, 2)])
def test_ranks_and_micro_batches_share_the_global_batch(world, accumulate):
    samples = np.arange(64)
    whole = SampleOrder(samples, batch_size=4 * world * accumulate, seed=5)
    parts = [
        SampleOrder(samples, batch_size=4, accumulate=accumulate, rank=r, world_size=world, seed=5)
        for r in range(world)
    ]
    for step in range(10):
        together = np.concatenate([b for part in parts for b in part.micro_batches(step)])
        assert sorted(together) == sorted(whole.micro_batches(step)[0])
        assert all(len(b) == 4 for part in parts for b in part.micro_batches(step))


def test_rank_r_takes_every_nth_sample_of_the_global_batch():
    whole = SampleOrder(np.arange(64), batch_size=8, seed=0).micro_batches(2)[0]
    second = SampleOrder(np.arange(64), batch_size=4, rank=1, world_size=2, seed=0)
    assert second.micro_batches(2)[0].tolist() == whole[1::2].tolist()


def test_less_data_than_a_batch_is_repeated():
    order = SampleOrder(np.arange(3), batch_size=8, seed=0)
    assert order.steps_per_pass == 1
    batch = order.micro_batches(0)[0]
    assert len(batch) == 8
    assert all(2 <= np.sum(batch == s) <= 3 for s in range(3))


def test_weights_decide_how_often_a_sample_is_drawn():
    weights = np.array([0.0, 1.0, 3.0])
    order = SampleOrder(np.array([10, 11, 12]), batch_size=100, seed=0, weights=weights)
    drawn = visited(order, 200)
    share = np.mean(drawn == 12)
    assert not (drawn == 10).any()
    assert abs(share - 0.75) < 4 * np.sqrt(0.75 * 0.25 / len(drawn))
