"""What stands for the data of an experiment before they are collected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from trainer.errors import DataError
from trainer.interfaces import (
    ACTION,
    ACTION_IS_PAD,
    EPISODE_START,
    STATE,
    Batch,
    Dataset,
    FeatureStatistics,
    Interface,
)


class OnlineData(Dataset):
    """Sizes, and statistics that change nothing; its samples come from the history instead.

    Args:
        interface: The sizes.
    """

    def __init__(self, interface: Interface) -> None:
        self.interface = interface

    def __len__(self) -> int:
        """Return 0: nothing has been collected."""
        return 0

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Return zeros in the shapes that a batch of the history has."""
        count, sizes = len(indices), self.interface
        return {
            STATE: torch.zeros(count, sizes.obs_steps, sizes.state),
            ACTION: torch.zeros(count, 1, sizes.action),
            ACTION_IS_PAD: torch.zeros(count, 1, dtype=torch.bool),
            EPISODE_START: torch.zeros(count, 1, dtype=torch.bool),
        }

    def statistics(self) -> dict[str, FeatureStatistics]:
        """Return mean 0 and deviation 1."""
        return {
            key: FeatureStatistics(
                0, np.zeros(size), np.ones(size), np.full(size, -1.0), np.full(size, 1.0)
            )
            for key, size in ((STATE, self.interface.state), (ACTION, self.interface.action))
        }

    def episode_of_sample(self) -> np.ndarray:
        """Raise DataError: there are no episodes to split."""
        raise DataError("on-line data have no episodes to be split; use evaluation instead")

    def sample_weights(self) -> np.ndarray | None:
        """Return None: all samples count the same."""
        return None

    def environment_config(self) -> Mapping[str, object] | None:
        """Return None: the environment is vectorised, see ``distillation.yaml``."""
        return None
