"""Decides where a data set is kept: on the device, in memory, or in mapped files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

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
        free = torch.cuda.mem_get_info(device)[0]
        if needed * _SHARE <= free:
            return Choice("device", f"cache: auto, {free / 1e9:.1f} GB of the device free")
    free = free_ram()
    place: Place = "ram" if needed * _SHARE <= free else "none"
    return Choice(place, f"cache: auto, {free / 1e9:.1f} GB of RAM free for this process")


def free_ram() -> int:
    """Return the bytes of memory that this process may still take, its ranks' share counted."""
    free = _available()
    limit = _cgroup_free()
    if limit is not None:
        free = min(free, limit)
    return free // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _available() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            name, value = line.split(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _cgroup_free() -> int | None:
    """Return what a container's memory limit leaves, or None without one."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except OSError:
        return None
    return None if limit == "max" else int(limit) - used
