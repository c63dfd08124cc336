import pytest
import torch

from data_collection.distillation import row_ring
from data_collection.distillation.row_ring import RowRing, peak_rows, whole_blocks


@pytest.fixture
def small_start(monkeypatch):
    monkeypatch.setattr(row_ring, "START_ROWS", 4)


def rows(first, count):
    number = torch.arange(first, first + count, dtype=torch.float32)
    return {"x": torch.stack([number, -number], dim=1), "y": number[:, None] * 10}


def numbers(ring):
    """The first number of each row, oldest first."""
    order = (torch.arange(len(ring)) + ring.oldest) % ring.capacity
    return ring.fetch(order)[:, 0].tolist()


def test_it_grows_by_doubling_then_forgets_the_oldest(small_start):
    ring = RowRing({"x": 2, "y": 1}, max_rows=10)
    capacities = []
    for first in range(0, 15, 3):
        ring.extend(rows(first, 3))
        capacities.append(ring.capacity)
        end = first + 3
        assert numbers(ring) == list(range(max(0, end - 10), end))
    assert capacities == [4, 8, 10, 10, 10]
    assert ring.written == 15


@pytest.mark.parametrize(("limit", "block"), [(3, 1), (10, 1), (16, 1), (11, 3), (2, 5)])
def test_the_most_rows_at_once_are_those_of_the_last_growth(small_start, limit, block):
    ring = RowRing({"x": 1}, max_rows=limit, block=block)
    at_once = [ring.capacity]
    for _ in range(20):
        before = ring.capacity
        ring.claim(block)
        at_once.append(before + ring.capacity if ring.capacity > before else before)
    assert peak_rows(limit, block) == max(at_once)


def test_a_ring_of_a_million_rows_takes_almost_twice_that_as_it_grows():
    assert peak_rows(1_000_000, 1) == 800_000 + 1_000_000
    assert peak_rows(100_000, 1) == 100_000


def test_fields_lie_side_by_side_and_come_back_apart(small_start):
    ring = RowRing({"x": 2, "y": 1}, max_rows=8)
    ring.extend(rows(0, 5))
    fetched = ring.fetch(torch.tensor([4, 1, 4]))
    assert fetched.tolist() == [[4, -4, 40], [1, -1, 10], [4, -4, 40]]
    parts = ring.split(fetched)
    assert parts["y"].tolist() == [[40], [10], [40]]
    assert parts["x"].tolist() == [[4, -4], [1, -1], [4, -4]]


def test_flags_are_stored_as_numbers(small_start):
    ring = RowRing({"x": 1, "done": 1}, max_rows=4)
    ring.extend({"x": torch.ones(2, 1), "done": torch.tensor([[True], [False]])})
    assert ring.rows[:2].tolist() == [[1, 1], [1, 0]]


def test_blocks_are_never_split(small_start):
    ring = RowRing({"x": 1}, max_rows=11, block=3)
    assert (ring.capacity, ring.max_rows) == (3, 9)
    for number in range(5):
        ring.claim(3)[:] = number
    assert ring.rows[:, 0].tolist() == [3, 3, 3, 4, 4, 4, 2, 2, 2]
    assert numbers(ring) == [2, 2, 2, 3, 3, 3, 4, 4, 4]


def test_one_block_is_the_least_that_it_holds():
    assert whole_blocks(10, 24) == 24
    assert whole_blocks(100, 24) == 96


def test_what_does_not_fit_in_one_piece_is_refused(small_start):
    ring = RowRing({"x": 1}, max_rows=4)
    ring.claim(3)
    with pytest.raises(ValueError, match="2 rows do not fit between 3 and 4"):
        ring.claim(2)


def test_half_precision_takes_half_the_memory(small_start):
    full, half = (RowRing({"x": 3}, max_rows=4, dtype=d) for d in (torch.float32, torch.float16))
    assert (full.bytes_per_row, half.bytes_per_row) == (12, 6)
    half.extend({"x": torch.full((1, 3), 0.1)})
    assert half.rows[0].tolist() == pytest.approx([0.1] * 3, abs=1e-4)


@pytest.mark.parametrize("count", [3, 7, 13])
def test_a_restored_ring_goes_on_as_the_saved_one(small_start, count):
    ring = RowRing({"x": 2, "y": 1}, max_rows=10)
    ring.extend(rows(0, count))
    copy = RowRing({"x": 2, "y": 1}, max_rows=10)
    copy.load_state_dict({k: v.clone() for k, v in ring.state_dict().items()})
    for each in (ring, copy):
        each.extend(rows(count, 5))
    assert numbers(copy) == numbers(ring)
    assert torch.equal(copy.rows, ring.rows)
