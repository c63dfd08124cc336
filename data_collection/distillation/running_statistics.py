"""Statistics of everything collected so far, by all ranks together.

Shape legend: n rows, F features.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from data_collection.episodes import Statistics
from trainer.distributed import Ranks
from trainer.interfaces import FeatureStatistics

_ARRAYS = ("mean", "m2", "min", "max")


class RunningStatistics:
    """Mean, deviation and extremes of features, updated a block at a time; float64.

    Args:
        size: F.
        ranks: Who collects.
    """

    def __init__(self, size: int, ranks: Ranks) -> None:
        self._ranks = ranks
        self.seen = Statistics.of(np.empty((0, size)))
        """By all ranks."""

    def add(self, rows_nf: Tensor) -> None:
        """Take in this rank's rows; every rank must call this, with as many rows."""
        # Not var_mean: along the first dimension it is ten times as slow.
        mean_f = rows_nf.mean(dim=0)
        variance_f = (rows_nf - mean_f).square_().mean(dim=0)
        # Extremes along the first dimension would take longer than the copy.
        columns_fn = rows_nf.T.contiguous()
        mean_f, variance_f, low_f, high_f = torch.stack(
            [mean_f, variance_f, columns_fn.amin(1), columns_fn.amax(1)]
        ).double()
        # Sums can be added up over the ranks, deviations cannot.
        sums = self._ranks.all_reduce_sum(torch.stack([mean_f, variance_f + mean_f.square()]))
        extremes = self._ranks.all_reduce_max(torch.stack([-low_f, high_f]))
        # In one piece: the host waits for a GPU once.
        block = torch.cat([sums / self._ranks.world_size, extremes]).cpu().numpy()
        mean, square, minus_low, high = block
        count = len(rows_nf) * self._ranks.world_size
        m2 = np.maximum(square - mean**2, 0) * count
        self.seen = self.seen.merge(Statistics(count, mean, m2, -minus_low, high))

    def start_from(self, statistics: FeatureStatistics) -> None:
        """Count what others have seen as seen; statistics of nothing change nothing."""
        if not statistics.count:
            return
        m2 = statistics.std**2 * statistics.count
        self.seen = Statistics(
            statistics.count, statistics.mean, m2, statistics.min, statistics.max
        )

    def statistics(self) -> FeatureStatistics:
        """Return the statistics; mean 0 and deviation 1 while there is nothing."""
        seen = self.seen
        if seen.count == 0:
            zeros, ones = np.zeros_like(seen.mean), np.ones_like(seen.mean)
            return FeatureStatistics(0, zeros, ones, -ones, ones)
        return FeatureStatistics(seen.count, seen.mean, seen.std, seen.min, seen.max)

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything."""
        arrays = {name: torch.from_numpy(getattr(self.seen, name)) for name in _ARRAYS}
        return {"count": torch.tensor(self.seen.count), **arrays}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what ``state_dict`` returned."""
        self.seen = Statistics(int(state["count"]), *(state[name].numpy() for name in _ARRAYS))
