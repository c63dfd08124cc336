"""Exact running statistics: float64 count, mean, sum of squared deviations, minimum, maximum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True)
class Statistics:
    """Statistics of (count, D) rows; each array is (D,) float64. Empty ones span (inf, -inf)."""

    count: int
    mean: np.ndarray
    m2: np.ndarray
    min: np.ndarray
    max: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Statistics:
        """Return the statistics of ``rows`` (count, D)."""
        rows = rows.astype(np.float64)
        if len(rows) == 0:
            zero, inf = np.zeros(rows.shape[1]), np.full(rows.shape[1], np.inf)
            return cls(0, zero, zero, inf, -inf)
        mean = rows.mean(axis=0)
        m2 = np.square(rows - mean).sum(axis=0)
        return cls(len(rows), mean, m2, rows.min(axis=0), rows.max(axis=0))

    @property
    def std(self) -> np.ndarray:
        """Return the population standard deviation (D,), zero when empty."""
        return np.sqrt(self.m2 / max(self.count, 1))

    def merge(self, other: Statistics) -> Statistics:
        """Return the statistics of both sets of rows together.

        Chan, Golub & LeVeque (1979), "Updating Formulae and a Pairwise Algorithm for Computing
        Sample Variances", equations 2.1.
        """
        count = self.count + other.count
        if self.count == 0 or other.count == 0:
            return other if self.count == 0 else self
        delta = other.mean - self.mean
        return Statistics(
            count,
            self.mean + delta * (other.count / count),
            self.m2 + other.m2 + np.square(delta) * (self.count * other.count / count),
            np.minimum(self.min, other.min),
            np.maximum(self.max, other.max),
        )

    def to_json(self) -> dict[str, Json]:
        """Return plain values from which ``from_json`` restores the same bits."""
        values: dict[str, Json] = {"count": self.count, "dimensions": len(self.mean)}
        if self.count:
            for name in ("mean", "m2", "min", "max"):
                values[name] = getattr(self, name).tolist()
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Json]) -> Statistics:
        """Return the statistics that ``to_json`` wrote."""
        count, dimensions = cast(int, values["count"]), cast(int, values["dimensions"])
        if count == 0:
            return cls.of(np.empty((0, dimensions)))
        names = ("mean", "m2", "min", "max")
        return cls(count, *(np.array(values[name], dtype=np.float64) for name in names))


def merge_all(parts: Iterable[Statistics]) -> Statistics:
    """Return the statistics of all parts together, merged in the given order."""
    iterator = iter(parts)
    total = next(iterator)
    for part in iterator:
        total = total.merge(part)
    return total
