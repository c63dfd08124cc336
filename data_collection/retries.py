"""How often a rollout that breaks down is played again."""

from __future__ import annotations

import logging

from data_collection.player import Outcome
from trainer.rollout import RolloutJob

_log = logging.getLogger(__name__)


class Retries:
    """Counts the breakdowns of jobs, whoever played them.

    Args:
        most: How many breakdowns of a job are followed by another attempt, with the same seed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._reasons: dict[str, list[str]] = {}

    def broke_down(self, job: RolloutJob, reason: str) -> Outcome | None:
        """Return the outcome of a job that broke down once too often, None before that."""
        reasons = self._reasons.setdefault(job.id, [])
        reasons.append(reason)
        times = len(reasons)
        again = times <= self._most
        _log.warning(
            "rollout %s (seed %d) broke down, %s:\n%s",
            job.id,
            job.seed,
            f"retry {times} of {self._most} follows" if again else "it is given up",
            reason,
        )
        if again:
            return None
        return Outcome(job, None, "\n".join(reasons))
