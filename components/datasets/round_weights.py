"""How much each round counts when samples are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

RoundWeights = Literal["by_frame", "by_round"] | list[float] | dict[Literal["recency"], float]
"""``by_frame``: all samples alike. ``by_round``: all rounds alike. A list: each round's share of
the draws. ``{recency: g}``: each round counts g times as much as the next newer one."""


def sample_weights(
    weights: RoundWeights | None, samples_per_round: Sequence[int] | np.ndarray
) -> np.ndarray | None:
    """Return (samples,) float64 that sum to 1, or None when all samples count the same.

    Args:
        weights: What the experiment says; None is ``by_frame``.
        samples_per_round: How many samples each round has, oldest round first.

    Raises:
        ValueError: The weights do not fit the rounds, or are not positive.
    """
    if weights is None or weights == "by_frame":
        return None
    counts = np.asarray(samples_per_round)
    shares = np.where(counts > 0, _shares(weights, len(counts)), 0.0)
    if shares.sum() <= 0:
        raise ValueError("round_weights: no round with samples has a weight above 0")
    shares /= shares.sum()
    return np.repeat(shares / np.maximum(counts, 1), counts)


def _shares(weights: RoundWeights, rounds: int) -> np.ndarray:
    if weights == "by_round":
        return np.ones(rounds)
    if isinstance(weights, dict):
        recency = weights.get("recency", 0.0)
        if not 0 < recency <= 1 or len(weights) != 1:
            raise ValueError(f"round_weights: recency must lie in (0, 1], got {weights}")
        return recency ** np.arange(rounds - 1, -1, -1.0)
    shares = np.asarray(weights, dtype=np.float64)
    if len(shares) != rounds or not np.isfinite(shares).all() or (shares < 0).any():
        raise ValueError(
            f"round_weights: expected {rounds} numbers >= 0, one for each round, got {weights}"
        )
    return shares
