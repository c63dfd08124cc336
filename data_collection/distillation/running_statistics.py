"""Statistics of everything collected so far, by all ranks together.

Shape legend: n rows, F features.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainer.distributed import Ranks
from trainer.interfaces import FeatureStatistics


class RunningStatistics:
    """Mean, deviation and extremes of features, updated a block at a time; float64 on the CPU.

    Args:
        size: F.
        ranks: Who collects.
    """

    def __init__(self, size: int, ranks: Ranks) -> None:
        self._ranks = ranks
        self.count = 0
        self.mean = torch.zeros(size, dtype=torch.float64)
        self.m2 = torch.zeros(size, dtype=torch.float64)
        """Sum of the squared deviations from the mean."""
        self.low = torch.full((size,), torch.inf, dtype=torch.float64)
        self.high = torch.full((size,), -torch.inf, dtype=torch.float64)

    def add(self, rows_nf: Tensor) -> None:
        """Take in this rank's rows; every rank must call this, with as many rows."""
        # Not var_mean: along the first dimension it is ten times as slow.
        mean = rows_nf.mean(dim=0)
        variance = (rows_nf - mean).square().mean(dim=0).double()
        mean = mean.double()
        # Not aminmax, amin, amax: along the first dimension they take twice as long.
        low, high = rows_nf.min(dim=0).values, rows_nf.max(dim=0).values
        # Sums can be added up over the ranks; a device's own are made into float64 there.
        sums = self._ranks.all_reduce_sum(torch.stack([mean, variance + mean.square()]))
        extremes = self._ranks.all_reduce_max(torch.stack([-low.double(), high.double()]))
        means = sums / self._ranks.world_size
        # In one piece: the host waits for a GPU once.
        block_mean, block_square, negative_low, high = torch.cat([means, extremes]).cpu()
        count = len(rows_nf) * self._ranks.world_size
        # Chan, Golub & LeVeque (1983): merge two sets' means and sums of squared deviations.
        total, difference = self.count + count, block_mean - self.mean
        block_m2 = (block_square - block_mean.square()).clamp(min=0) * count
        self.m2 = self.m2 + block_m2 + difference.square() * self.count * count / total
        self.mean = self.mean + difference * count / total
        self.count = total
        self.low = torch.minimum(self.low, -negative_low)
        self.high = torch.maximum(self.high, high)

    def start_from(self, statistics: FeatureStatistics) -> None:
        """Count what others have seen as seen; statistics of nothing change nothing."""
        if not statistics.count:
            return
        self.count = statistics.count
        self.mean, deviation, self.low, self.high = (
            torch.from_numpy(values).double().clone()
            for values in (statistics.mean, statistics.std, statistics.min, statistics.max)
        )
        self.m2 = deviation.square() * statistics.count

    def statistics(self) -> FeatureStatistics:
        """Return the statistics; mean 0 and deviation 1 while there is nothing."""
        if self.count == 0:
            zeros, ones = torch.zeros_like(self.mean).numpy(), torch.ones_like(self.mean).numpy()
            return FeatureStatistics(0, zeros, ones, -ones, ones)
        deviation = (self.m2 / self.count).sqrt()
        return FeatureStatistics(
            self.count,
            self.mean.numpy(),
            deviation.numpy(),
            self.low.numpy(),
            self.high.numpy(),
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything."""
        return {
            "count": torch.tensor(self.count),
            "mean": self.mean,
            "m2": self.m2,
            "low": self.low,
            "high": self.high,
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what ``state_dict`` returned."""
        self.count = int(state["count"])
        self.mean, self.m2 = state["mean"], state["m2"]
        self.low, self.high = state["low"], state["high"]
