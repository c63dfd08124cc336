"""Does the history fit into memory? Asked before any of it is taken."""

from __future__ import annotations

import torch

from data_collection.distillation.console import megabytes
from data_collection.distillation.row_ring import START_ROWS
from trainer.errors import ConfigError
from trainer.memory import free_memory

_GROWTH = 1.5
"""While the last doubling copies the rows, the old half exists beside the new whole."""
_SHARE = 0.95
"""Of what is free; the rest is for the environment and the student."""


def check_fits(max_size: int, bytes_per_transition: int, device: torch.device, where: str) -> None:
    """Raise ConfigError, with the size that fits, when the full history would not.

    Args:
        max_size: The most transitions that are kept.
        bytes_per_transition: The memory of each.
        device: Where.
        where: Begins the message.
    """
    free = free_memory(device)
    factor = _GROWTH if max_size > START_ROWS else 1.0
    needed = max_size * bytes_per_transition * factor
    if needed > _SHARE * free:
        fits = int(_SHARE * free / (bytes_per_transition * _GROWTH))
        raise ConfigError(
            f"{where}: {max_size:,} transitions of {bytes_per_transition} bytes take "
            f"{megabytes(needed)} while the buffer grows, but {megabytes(free)} are free on "
            f"{device}; {fits:,} fit (or use storage_dtype: float16, or fewer environments)"
        )
