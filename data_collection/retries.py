"""How often a rollout that breaks down is played again, and players that die are replaced."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from data_collection.player import Outcome
from trainer.errors import UserError
from trainer.rollout import RolloutJob

_log = logging.getLogger(__name__)

_DEATHS_IN_A_ROW = 3


class Retries:
    """Counts the breakdowns of jobs, whoever played them, and the deaths before any playing.

    Args:
        most: How many breakdowns of a job are followed by another attempt, with the same seed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._deaths = 0
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

    def works(self) -> None:
        """Note that a player is ready, or has played: what players need is there."""
        self._deaths = 0

    def lost(
        self, who: str, reason: str, playing: Sequence[RolloutJob], *, ready: bool
    ) -> list[Outcome]:
        """Return the outcomes of the jobs that a dead player breaks down with once too often.

        Args:
            who: The player.
            reason: Of its death.
            playing: The jobs that may be to blame.
            ready: Whether it had built what it plays with.

        Raises:
            UserError: Players die before they are ready, one after the other.
        """
        names = ", ".join(job.id for job in playing) or "nothing"
        _log.warning("%s is lost, it played %s: %s", who, names, reason)
        self._deaths += not ready
        if self._deaths >= _DEATHS_IN_A_ROW:
            raise UserError(f"{reason}\nit was not ready to play yet, the third in a row")
        broken = [self.broke_down(job, reason) for job in playing]
        return [outcome for outcome in broken if outcome]
