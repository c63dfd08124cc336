import gc

import torch

from components.datasets.blocks import LARGE, BlockPool


def test_memory_is_used_again_only_after_every_view_of_it_is_gone():
    pool = BlockPool()
    first = pool.empty((LARGE,), torch.uint8)
    first.fill_(1)
    view = first.view(2, -1)[1].numpy()
    place = first.data_ptr()
    del first
    gc.collect()
    second = pool.empty((LARGE,), torch.uint8)
    second.fill_(2)
    assert second.data_ptr() != place
    assert (view == 1).all()
    del view
    assert pool.empty((LARGE,), torch.uint8).data_ptr() == place


def test_blocks_are_as_many_as_were_in_use_at_once():
    pool = BlockPool()
    for _ in range(20):
        pair = [pool.empty((3, LARGE), torch.uint8), pool.empty((LARGE,), torch.float32)]
        assert pair[0].shape == (3, LARGE)
        assert pair[1].dtype == torch.float32
        del pair
    assert len(pool._idle) == 2


def test_a_smaller_request_takes_the_smallest_block_that_fits():
    pool = BlockPool()
    big, small = pool.empty((4 * LARGE,), torch.uint8), pool.empty((2 * LARGE,), torch.uint8)
    place = small.data_ptr()
    del big, small
    taken = pool.empty((LARGE,), torch.uint8)
    assert taken.data_ptr() == place
    assert len(taken) == LARGE


def test_blocks_that_have_become_too_small_are_let_go():
    pool = BlockPool()
    for size in (LARGE, 2 * LARGE, 3 * LARGE):
        pool.empty((size,), torch.uint8)
    assert [block.size for block in pool._idle] == [3 * LARGE]


def test_small_tensors_have_no_block():
    pool = BlockPool()
    pool.empty((3, 4), torch.int64)
    assert pool._idle == []


def test_a_pickle_carries_no_memory():
    pool = BlockPool()
    pool.empty((LARGE,), torch.uint8)
    assert len(pool._idle) == 1
    assert pool.__getstate__()["_idle"] == []
