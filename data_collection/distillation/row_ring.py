"""Rows in one contiguous storage, which grows by doubling up to a limit, then forgets the oldest.

All fields of a row lie side by side, so that a random row is one stretch of memory, fetched once.

Shape legend: n rows, W width of a row.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

START_ROWS = 100_000
"""Capacity to begin with, where the limit is not lower."""


class RowRing:
    """A ring of rows.

    Args:
        widths: How many numbers each field of a row has, by name, in the order of the row.
        max_rows: The limit.
        block: Rows come in multiples of this; capacities are rounded down to it, so that no such
            block is ever split.
        dtype: What numbers are stored as.
        device: Where.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        max_rows: int,
        block: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        self.fields: dict[str, slice] = {}
        width = 0
        for name, size in widths.items():
            self.fields[name] = slice(width, width + size)
            width += size
        self._names = tuple(widths)
        self.block = block
        self.max_rows = whole_blocks(max_rows, block)
        self.rows = torch.zeros(
            whole_blocks(min(START_ROWS, max_rows), block), width, dtype=dtype, device=device
        )
        self.capacity = len(self.rows)
        """How many rows fit without growing."""
        self.position = 0
        """Where the next row goes."""
        self.written = 0
        """How many rows ever came."""

    def __len__(self) -> int:
        """Return how many rows there are."""
        return min(self.written, self.capacity)

    @property
    def bytes_per_row(self) -> int:
        """The memory of one row."""
        return self.rows.shape[1] * self.rows.element_size()

    @property
    def oldest(self) -> int:
        """Where the oldest row is."""
        return self.position % self.capacity if self.written > self.capacity else 0

    def claim(self, count: int) -> Tensor:
        """Return the next rows (count, W) to be written in place, one block or less.

        They count as there at once; the oldest make room.
        """
        if self.written == self.capacity < self.max_rows:
            self._grow()
        if self.position == self.capacity:
            self.position = 0
        start = self.position
        if count > self.capacity - start:
            raise ValueError(f"{count} rows do not fit between {start} and {self.capacity}")
        self.position += count
        self.written += count
        return self.rows[start : self.position]

    def extend(self, fields: Mapping[str, Tensor]) -> None:
        """Append rows whose fields are tensors (n, size), as many as fit at most."""
        dtype = self.rows.dtype
        # Tensors of one type are put side by side twice as fast.
        columns = [
            column if column.dtype is dtype else column.to(dtype)
            for column in map(fields.__getitem__, self._names)
        ]
        count = len(columns[0])
        end = self.position + count
        if end < self.capacity:  # the common case, as short as can be
            torch.cat(columns, 1, out=self.rows[self.position : end])
            self.position = end
            self.written += count
            return
        done = 0
        while done < count:
            if self.written == self.capacity < self.max_rows:
                self._grow()
            part = min(self.capacity - self.position % self.capacity, count - done)
            rows = self.claim(part)
            torch.cat([column[done : done + part] for column in columns], 1, out=rows)
            done += part

    def fetch(self, index_n: Tensor) -> Tensor:
        """Return a copy (n, W) of the rows at these places."""
        return self.rows.index_select(0, index_n)

    def split(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the fields of rows (…, W) as views (…, size)."""
        return {name: rows[..., columns] for name, columns in self.fields.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the rows as they lie, and where the ring stands."""
        return {
            "rows": self.rows[: len(self)],
            "position": torch.tensor(self.position),
            "written": torch.tensor(self.written),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what ``state_dict`` returned."""
        rows = state["rows"]
        while self.capacity < len(rows):
            self._grow()
        self.rows[: len(rows)] = rows.to(self.rows.device)
        self.position, self.written = int(state["position"]), int(state["written"])

    def _grow(self) -> None:
        """Double the capacity; rows stay where they are."""
        larger = self.rows.new_zeros(min(2 * self.capacity, self.max_rows), self.rows.shape[1])
        larger[: self.capacity] = self.rows
        self.rows, self.capacity = larger, len(larger)


def peak_rows(max_rows: int, block: int) -> int:
    """Return the most rows that exist at once: as a ring grows, the old ones beside the new."""
    limit = whole_blocks(max_rows, block)
    before, capacity = 0, whole_blocks(min(START_ROWS, max_rows), block)
    while capacity < limit:
        before, capacity = capacity, min(2 * capacity, limit)
    return before + capacity


def whole_blocks(rows: int, block: int) -> int:
    """Return the largest multiple of ``block`` that is at most ``rows``, but one block at least."""
    return max(1, rows // block) * block
