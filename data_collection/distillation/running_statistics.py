"""Statistics of everything collected so far, by all ranks together.

Shape legend: n rows, F features.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from trainer.distributed import Ranks
from trainer.interfaces import FeatureStatistics

_ARRAYS = ("mean", "m2", "low", "high")


class RunningStatistics:
    """Mean, deviation and extremes of features, updated a block at a time; float64.

    Args:
        size: F.
        ranks: Who collects.
    """

    def __init__(self, size: int, ranks: Ranks) -> None:
        self._ranks = ranks
        self.count = 0
        self.mean = np.zeros(size)
        self.m2 = np.zeros(size)
        """Sum of the squared deviations from the mean."""
        self.low = np.full(size, np.inf)
        self.high = np.full(size, -np.inf)

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
        self._merge(len(rows_nf) * self._ranks.world_size, *block)

    def _merge(
        self,
        count: int,
        mean: np.ndarray,
        square: np.ndarray,
        minus_low: np.ndarray,
        high: np.ndarray,
    ) -> None:
        # Chan, Golub & LeVeque (1983): merge two sets' means and sums of squared deviations.
        total, difference = self.count + count, mean - self.mean
        m2 = np.maximum(square - mean**2, 0) * count
        self.m2 = self.m2 + m2 + difference**2 * self.count * count / total
        self.mean = self.mean + difference * count / total
        self.count = total
        self.low = np.minimum(self.low, -minus_low)
        self.high = np.maximum(self.high, high)

    def start_from(self, statistics: FeatureStatistics) -> None:
        """Count what others have seen as seen; statistics of nothing change nothing."""
        if not statistics.count:
            return
        self.count = statistics.count
        self.mean, self.low, self.high = statistics.mean, statistics.min, statistics.max
        self.m2 = statistics.std**2 * statistics.count

    def statistics(self) -> FeatureStatistics:
        """Return the statistics; mean 0 and deviation 1 while there is nothing."""
        if self.count == 0:
            zeros, ones = np.zeros_like(self.mean), np.ones_like(self.mean)
            return FeatureStatistics(0, zeros, ones, -ones, ones)
        deviation = np.sqrt(self.m2 / self.count)
        return FeatureStatistics(self.count, self.mean, deviation, self.low, self.high)

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything."""
        arrays = {name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS}
        return {"count": torch.tensor(self.count), **arrays}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what ``state_dict`` returned."""
        self.count = int(state["count"])
        self.mean, self.m2, self.low, self.high = (state[name].numpy() for name in _ARRAYS)
