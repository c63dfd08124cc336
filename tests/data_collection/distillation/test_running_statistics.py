import numpy as np
import pytest
import torch

from data_collection.distillation.running_statistics import RunningStatistics
from tests.support.ranks import run_on_two_ranks
from trainer.distributed import Ranks

ALONE = Ranks(0, 1, torch.device("cpu"))


def rows(seed, count=50):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, generator=generator) * torch.tensor([1.0, 5.0, 0.01]) + 7


def test_blocks_add_up_to_the_statistics_of_all_rows():
    running = RunningStatistics(3, ALONE)
    blocks = [rows(0, 50), rows(1, 7), rows(2, 400)]
    for block in blocks:
        running.add(block)
    everything = torch.cat(blocks).double().numpy()
    found = running.statistics()
    assert found.count == 457
    np.testing.assert_allclose(found.mean, everything.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.std, everything.std(0), rtol=1e-4)
    np.testing.assert_array_equal(found.min, everything.min(0))
    np.testing.assert_array_equal(found.max, everything.max(0))


def test_before_anything_is_seen_nothing_is_scaled():
    found = RunningStatistics(2, ALONE).statistics()
    assert (found.mean.tolist(), found.std.tolist()) == ([0, 0], [1, 1])


def test_what_it_starts_from_counts_as_seen():
    before, whole = RunningStatistics(3, ALONE), RunningStatistics(3, ALONE)
    before.add(rows(0, 50))
    after = RunningStatistics(3, ALONE)
    after.start_from(RunningStatistics(3, ALONE).statistics())
    after.start_from(before.statistics())
    after.add(rows(1, 7))
    for block in (rows(0, 50), rows(1, 7)):
        whole.add(block)
    found, expected = after.statistics(), whole.statistics()
    assert found.count == 57
    for name in ("mean", "std", "min", "max"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12)


def test_a_restored_one_goes_on_with_the_same_bits():
    running, copy = RunningStatistics(3, ALONE), RunningStatistics(3, ALONE)
    running.add(rows(0))
    copy.load_state_dict(running.state_dict())
    for each in (running, copy):
        each.add(rows(1))
    np.testing.assert_array_equal(running.seen.m2, copy.seen.m2)
    np.testing.assert_array_equal(running.seen.mean, copy.seen.mean)


def on_rank(rank: int) -> torch.Tensor:
    running = RunningStatistics(3, Ranks(rank, 2, torch.device("cpu")))
    running.add(rows(rank))
    found = running.statistics()
    return torch.from_numpy(np.stack([found.mean, found.std, found.min, found.max]))


def test_ranks_share_their_statistics(tmp_path):
    first, second = run_on_two_ranks(on_rank, tmp_path)
    assert torch.equal(first, second)
    both = torch.cat([rows(0), rows(1)]).double().numpy()
    expected = np.stack([both.mean(0), both.std(0), both.min(0), both.max(0)])
    assert first.numpy() == pytest.approx(expected, rel=1e-4)
