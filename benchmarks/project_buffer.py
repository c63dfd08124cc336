"""This project's row ring as a contestant of ``replay_buffer.py``, and a plain tensor ring."""

from __future__ import annotations

import sys
from typing import Protocol

import torch
from contestants import serve
from replay_task import WIDTHS, BufferTask, made_up, rate, resident_mb
from torch import Tensor

from data_collection.distillation.row_ring import RowRing


class Buffer(Protocol):
    """What is measured."""

    def extend(self, fields: dict[str, Tensor]) -> None:
        """Append transitions."""
        ...

    def sample(self, count: int) -> dict[str, Tensor]:
        """Return so many transitions."""
        ...


class Ours:
    """One row a transition."""

    def __init__(self, capacity: int) -> None:
        self._ring = RowRing(WIDTHS, max_rows=capacity)
        self.extend = self._ring.extend

    def sample(self, count: int) -> dict[str, Tensor]:
        """Return so many transitions."""
        ring = self._ring
        return ring.split(ring.fetch(torch.randint(len(ring), (count,))))


class Plain:
    """A tensor for each field, and no more than slices and indices."""

    def __init__(self, capacity: int) -> None:
        self._capacity, self._position = capacity, 0
        self._fields = {
            name: torch.zeros(capacity, *value.shape[1:], dtype=value.dtype)
            for name, value in made_up(1).items()
        }

    def extend(self, fields: dict[str, Tensor]) -> None:
        """Append transitions."""
        count = len(fields["obs"])
        if self._position + count > self._capacity:
            self._position = 0
        for name, value in fields.items():
            self._fields[name][self._position : self._position + count] = value
        self._position += count

    def sample(self, count: int) -> dict[str, Tensor]:
        """Return so many transitions."""
        index = torch.randint(self._capacity, (count,))
        return {name: value[index] for name, value in self._fields.items()}


def main() -> None:
    """Answer the benchmark's questions."""
    torch.set_num_threads(1)
    task = BufferTask.from_arguments(sys.argv[1:])
    chunk, single = made_up(task.chunk), made_up(1)
    before = resident_mb()
    buffer: Buffer = Plain(task.capacity) if task.plain else Ours(task.capacity)
    for _ in range(-(-task.capacity // task.chunk)):
        buffer.extend(chunk)
    memory = resident_mb() - before
    serve(
        {
            "memory": lambda _: {"bytes": memory * 2**20 / task.capacity},
            "extend": lambda s: {"rate": rate(lambda: buffer.extend(chunk), s) * task.chunk},
            "extend_one": lambda s: {"rate": rate(lambda: buffer.extend(single), s)},
            "sample": lambda s: {"rate": rate(lambda: buffer.sample(task.batch), s)},
        }
    )


if __name__ == "__main__":
    main()
