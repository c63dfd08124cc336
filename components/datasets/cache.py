"""Decides where a data set is kept: on the device, in memory, or in mapped files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from trainer.memory import free_memory, free_ram

Cache = Literal["auto", "none", "ram", "device"]
Place = Literal["none", "ram", "device"]

_SHARE = 2
"""``auto`` takes at most one half of what is free."""


@dataclass(frozen=True)
class Choice:
    """Where the data go, and why."""

    place: Place
    reason: str


def choose(cache: Cache, needed: int, device: torch.device) -> Choice:
    """Return where ``needed`` bytes go; ``auto`` prefers the device, then RAM, then the disk."""
    if cache != "auto":
        return Choice(cache, f"cache: {cache}")
    if device.type == "cuda":
        free = free_memory(device)
        if needed * _SHARE <= free:
            return Choice("device", f"cache: auto, {free / 1e9:.1f} GB of the device free")
    free = free_ram()
    place: Place = "ram" if needed * _SHARE <= free else "none"
    return Choice(place, f"cache: auto, {free / 1e9:.1f} GB of RAM free for this process")
