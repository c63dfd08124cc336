"""What a run prints and logs."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from data_collection.distillation.history import History
from data_collection.distillation.phases import Phase, describe

_log = logging.getLogger(__name__)


def announce_history(history: History, use_dagger: bool) -> None:
    """Say how large the history is and may become."""
    size, bytes_each = history.ring.capacity, history.bytes_per_transition
    if not use_dagger:
        _log.info(
            "[Distillation] No aggregation: the newest iteration alone, %s transitions (%s)",
            f"{history.layout.block:,}",
            megabytes(size * bytes_each),
        )
        return
    limit = history.ring.max_rows
    _log.info(
        "[DAgger] Initialized aggregated buffer with capacity: %s transitions (%s on %s)",
        f"{size:,}",
        megabytes(size * bytes_each),
        history.ring.rows.device,
    )
    _log.info(
        "[DAgger] Maximum buffer size: %s transitions (%s, %d bytes each)",
        f"{limit:,}",
        megabytes(limit * bytes_each),
        bytes_each,
    )


def announce_iteration(
    iteration: int, phase: Phase, history: History, figures: Mapping[str, float], use_dagger: bool
) -> None:
    """Say where the run stands after an iteration (counted from 0)."""
    lines = [f"Iteration {iteration + 1}", *describe(phase, iteration)]
    if use_dagger:
        lines.append(
            f"[DAgger] Aggregated {history.layout.block:,} transitions. "
            f"Total buffer size: {len(history):,}/{history.ring.max_rows:,}"
        )
    shown = (
        ("loss", "Loss/behavior", ".4g"),
        ("reward", "Train/mean_reward", ".2f"),
        ("episode length", "Train/mean_episode_length", ".1f"),
        ("success", "Train/success_rate", ".2f"),
        ("steps/s", "Perf/total_fps", ",.0f"),
    )
    values = [f"{name} {figures[key]:{form}}" for name, key, form in shown if key in figures]
    lines.append(", ".join(values))
    _log.info("%s", "\n  ".join(lines))


def megabytes(size: float) -> str:
    """Return a number of bytes as people read it."""
    return f"{size / 1e6:,.1f} MB"
