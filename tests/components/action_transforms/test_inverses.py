import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.action_transforms.chunk_relative import ChunkRelative
from components.action_transforms.delta import Delta
from components.action_transforms.identity import Identity
from trainer.errors import ConfigError

INDICES = [4, None, 0]  # three actions, of which the second stays absolute; five states
TRANSFORMS = [Identity(), ChunkRelative(state_indices=INDICES), Delta(state_indices=INDICES)]
NAMES = ["identity", "chunk_relative", "delta"]
numbers = st.floats(-100, 100, width=32)
chunks = arrays(np.float32, (2, 6, 3), elements=numbers).map(torch.from_numpy)
states = arrays(np.float32, (2, 5), elements=numbers).map(torch.from_numpy)

ACTION = torch.tensor([[[1.0, 5.0, 2.0], [4.0, 6.0, 2.0], [9.0, 6.0, -1.0]]])
STATE = torch.tensor([[10.0, 0.0, 0.0, 0.0, 0.5]])


@pytest.mark.parametrize("transform", TRANSFORMS, ids=NAMES)
@settings(deadline=None)
@given(action=chunks, state=states)
def test_inverse_undoes_forward_and_forward_undoes_inverse(transform, action, state):
    there = transform.inverse(transform.forward(action, state), state)
    back = transform.forward(transform.inverse(action, state), state)
    # Rounding of a sum of at most 7 numbers below 100, and of the differences of such sums.
    torch.testing.assert_close(there, action, rtol=0, atol=2e-3)
    torch.testing.assert_close(back, action, rtol=0, atol=2e-3)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=NAMES)
def test_inversion_is_exact_where_rounding_is(transform):
    generator = torch.Generator().manual_seed(0)
    action = torch.randint(-64, 64, (8, 16, 3), generator=generator) / 32
    state = torch.randint(-64, 64, (8, 5), generator=generator) / 32
    assert torch.equal(transform.inverse(transform.forward(action, state), state), action)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=NAMES)
@settings(deadline=None)
@given(action=chunks, state=states, valid=st.integers(1, 6), padding=numbers)
def test_valid_steps_never_depend_on_the_padding_after_them(
    transform, action, state, valid, padding
):
    padded = action.clone()
    padded[:, valid:] = padding
    for change in (transform.forward, transform.inverse):
        assert torch.equal(change(padded, state)[:, :valid], change(action, state)[:, :valid])


def test_chunk_relative_subtracts_the_state_from_every_step():
    expected = torch.tensor([[[0.5, 5.0, -8.0], [3.5, 6.0, -8.0], [8.5, 6.0, -11.0]]])
    assert torch.equal(ChunkRelative(state_indices=INDICES).forward(ACTION, STATE), expected)


def test_delta_takes_differences_and_starts_at_the_state():
    expected = torch.tensor([[[0.5, 5.0, -8.0], [3.0, 6.0, 0.0], [5.0, 6.0, -3.0]]])
    assert torch.equal(Delta(state_indices=INDICES).forward(ACTION, STATE), expected)


def test_only_identity_says_that_it_is_one():
    assert [t.is_identity for t in TRANSFORMS] == [True, False, False]


@pytest.mark.parametrize("kind", [ChunkRelative, Delta])
@pytest.mark.parametrize("indices", [[], [0, -1, 2]])
def test_impossible_indices_are_refused_at_once(kind, indices):
    with pytest.raises(ConfigError, match="state_indices"):
        kind(state_indices=indices)


@pytest.mark.parametrize("kind", [ChunkRelative, Delta])
@pytest.mark.parametrize("indices", [[0, 1], [0, 1, 5]])
def test_indices_that_do_not_fit_the_data_are_named(kind, indices):
    with pytest.raises(ConfigError, match=r"expected 3 entries.*size 5.*got \[0, 1"):
        kind(state_indices=indices).forward(ACTION, STATE)
