"""What both sides of ``replay_buffer.py`` share. Needs torch alone."""

from __future__ import annotations

import ctypes
import gc
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

WIDTHS = {"obs": 48, "priv": 26, "action": 12, "expert": 12, "done": 1}
"""393 bytes: 98 numbers and a flag."""
RAW_BYTES = 98 * 4 + 1


@dataclass(frozen=True)
class BufferTask:
    """What a contestant is to hold and to do."""

    capacity: int
    chunk: int
    batch: int
    plain: bool = False
    """Whether a plain ring is measured, a tensor for each field."""

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> BufferTask:
        """Return the task that ``to_argument`` wrote on a contestant's command line."""
        return cls(**json.loads(arguments[0]))

    def to_argument(self) -> str:
        """Return the task as JSON."""
        return json.dumps(asdict(self))


def made_up(count: int) -> dict[str, Tensor]:
    """Return so many transitions."""
    torch.manual_seed(0)
    fields = {name: torch.randn(count, width) for name, width in WIDTHS.items()}
    return fields | {"done": fields["done"] > 0}


def rate(do: Callable[[], object], seconds: float) -> float:
    """Return how often ``do`` is done a second."""
    done, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        for _ in range(8):
            do()
        done += 8
    return done / passed


def resident_mb() -> float:
    """Return the memory that this process has, after giving back what it does not use."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
