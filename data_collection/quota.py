"""How much a round needs, and when it goes on with less."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from data_collection.episodes import EpisodeRecord
from data_collection.schema import CollectConfig
from trainer.errors import UserError

_log = logging.getLogger(__name__)

QUARANTINE = "quarantine"
"""Folder of the round with a log for each rollout that was given up."""


def too_few(
    config: CollectConfig,
    records: Collection[EpisodeRecord],
    outstanding: int = 0,
    longest: int = 0,
) -> bool:
    """Return whether these episodes and any ``outstanding`` ones, however long, are too few."""
    if config.min_steps is not None:
        steps = sum(record.length for record in records)
        if steps + outstanding * longest >= config.min_steps:
            return False
    return len(records) + outstanding < config.episodes


def enough_without_the_rest(config: CollectConfig, records: Collection[EpisodeRecord]) -> bool:
    """Return whether ``min_completed`` of the episodes, or of the steps asked for, are there."""
    if config.min_steps is not None:
        steps = sum(record.length for record in records)
        if steps >= config.min_completed * config.min_steps:
            return True
    return len(records) >= config.min_completed * config.episodes


def leaves_stragglers(
    config: CollectConfig, records: Collection[EpisodeRecord], outstanding: int
) -> bool:
    """Return whether the round goes on without jobs of which none has finished for long."""
    enough, written = enough_without_the_rest(config, records), len(records)
    _log.warning(
        "no rollout has finished for %g s, %d are under way; %s",
        config.stale_timeout_s,
        outstanding,
        f"the round goes on with {written} of {config.episodes}"
        if enough
        else f"waiting on: {written} of {config.episodes} are there (min_completed is "
        f"{config.min_completed:g})",
    )
    return enough


def check_complete(
    config: CollectConfig, records: Collection[EpisodeRecord], broken: Sequence[str]
) -> None:
    """Raise UserError when too few episodes are there and no attempt is left."""
    names, written = ", ".join(broken), len(records)
    if broken and enough_without_the_rest(config, records):
        _log.warning(
            "%d of %d episodes are complete, the round goes on without these, which broke down: %s",
            written,
            config.episodes,
            names,
        )
        return
    advice = "raise max_attempts, keep failures (keep_failures: true), or choose a better teacher"
    if broken:
        advice = (
            f"these broke down {config.max_retries + 1} times each: {names}; mend what the logs in "
            f"{QUARANTINE}/ say, or go on with fewer (min_completed is "
            f"{config.min_completed:g})"
        )
    raise UserError(
        f"only {written} of {config.attempts} attempts succeeded, {config.episodes} episodes were "
        f"asked for; {advice}"
    )
