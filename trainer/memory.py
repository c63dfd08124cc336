"""How much memory is free: of the machine, of a container, of a GPU; and keeping what one has."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import torch

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # names of glibc's malloc.h
_LARGEST_KEPT = 32 << 20
_MOST_KEPT = 256 << 20


def keep_freed_memory() -> None:
    """Let glibc keep what is freed, up to 256 MB, instead of giving it back to the system.

    A train step frees and takes the same activations again; each of their pages would be faulted
    in anew, which costs small models a tenth of their time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, _MOST_KEPT)


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_ram()


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
