"""What a student sees of a vehicle: late, noisy samples of some signals, at several moments.

Shape legend: N environments, F signals, M moments.
"""

from __future__ import annotations

import torch
from torch import Tensor


class DelayedView:
    """Keeps the last samples of each environment and shows some of them.

    Nothing here asks the device for a value, so that a GPU never waits for the host.

    Args:
        count: N.
        size: F.
        moments: M, how many samples are shown.
        stride: Steps between two of them.
        delay: Steps by which the newest of them is late.
        device: Where the samples are.
    """

    def __init__(
        self, count: int, size: int, moments: int, stride: int, delay: int, device: torch.device
    ) -> None:
        self._length = delay + (moments - 1) * stride + 1
        ages = delay + stride * torch.arange(moments, device=device)
        # Row r tells which samples are shown after the one in row r has been written.
        rows = torch.arange(self._length, device=device)
        self._shown = (rows[:, None] - ages[None]) % self._length
        self.samples = torch.zeros(self._length, count, size, device=device)
        self.newest = 0

    def push(self, sample_nf: Tensor, begins_n: Tensor) -> None:
        """Add a sample; where an episode begins it takes the place of all earlier ones."""
        self.newest = (self.newest + 1) % self._length
        self.samples[self.newest] = sample_nf
        self.samples = torch.where(begins_n[None, :, None], sample_nf[None], self.samples)

    def look(self) -> Tensor:
        """Return what is seen now (N, M · F), the newest sample first."""
        seen_mnf = self.samples.index_select(0, self._shown[self.newest])
        return seen_mnf.transpose(0, 1).flatten(1)
