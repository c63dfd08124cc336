"""The point that relative action coordinates are measured from."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.errors import ConfigError


def check_indices(state_indices: Sequence[int | None]) -> tuple[int | None, ...]:
    """Return the indices; raise ConfigError when there is none or one is negative."""
    if not state_indices or any(index is not None and index < 0 for index in state_indices):
        raise ConfigError(
            "state_indices: expected one entry per action dimension, a state index from 0 on or "
            f"null for a dimension that stays absolute; got {list(state_indices)}"
        )
    return tuple(state_indices)


def state_reference(
    action_bha: Tensor, state_bs: Tensor, state_indices: Sequence[int | None]
) -> Tensor:
    """Return (B, A): the state component belonging to each action dimension, 0 where it has none.

    Raises:
        ConfigError: The indices fit neither the number of actions nor the size of the state.
    """
    actions, states = action_bha.shape[-1], state_bs.shape[-1]
    if len(state_indices) != actions or any(i is not None and i >= states for i in state_indices):
        raise ConfigError(
            f"state_indices: expected {actions} entries, one per action dimension, each below the "
            f"state's size {states} or null; got {list(state_indices)}"
        )
    zero_b = torch.zeros_like(state_bs[:, 0])
    return torch.stack([zero_b if i is None else state_bs[:, i] for i in state_indices], dim=-1)
