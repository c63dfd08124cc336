"""Memory of large batches, used again: fresh pages cost as much as filling them."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

LARGE = 1 << 20
"""Bytes from which on a tensor is worth a block of its own."""


class BlockPool:
    """Uninitialised CPU tensors whose memory comes back when nobody holds them any more.

    A batch belongs to whoever has it, for as long as any view of it lives: its memory is given
    away again only after that. So the pool never has more blocks than were in use at once.
    """

    def __init__(self) -> None:
        self.pinned = False
        """Whether large tensors are in pinned memory, from where copies to a device are fast."""
        self._idle: list[np.ndarray] = []

    def __getstate__(self) -> dict[str, object]:
        return {"pinned": self.pinned, "_idle": []}

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return an uninitialised tensor."""
        size = prod(shape) * dtype.itemsize
        if self.pinned or size < LARGE:  # torch keeps a pool of pinned memory itself
            return torch.empty(tuple(shape), dtype=dtype, pin_memory=self.pinned)
        block = self._block(size)
        lease = block[:size]  # lives as long as the storage of the tensor
        weakref.finalize(lease, self._idle.append, block).atexit = False
        return torch.from_numpy(lease).view(dtype).view(*shape)

    def _block(self, size: int) -> np.ndarray:
        """Return the smallest idle block of at least ``size`` bytes, else a new one."""
        idle = self._idle
        fitting = [i for i, block in enumerate(idle) if block.size >= size]
        if fitting:
            return idle.pop(min(fitting, key=lambda i: idle[i].size))
        if idle:  # what is too small now would lie about for ever
            idle.pop()
        return np.empty(size, np.uint8)  # numpy asks for huge pages
