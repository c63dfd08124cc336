"""How much each round says about the later steps of a chunk, and a warning where it is little."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.datasets.windows import Windows
from data_collection.episodes import SealedRound

_log = logging.getLogger(__name__)
_FAR_BELOW = 0.5
"""Of what the ends of the episodes explain: students that drive, labelled step by step, give less
than this for any chunk of more than a few steps; experts that were interrupted now and then do not.
"""


@dataclass(frozen=True)
class RoundTargets:
    """The targets of a round's samples.

    Attributes:
        folder: The round.
        mean: How many steps of a target are valid.
        share: Of the valid steps of all rounds, those of this one.
        possible: The mean if every target went on until the chunk or its episode ends.
    """

    folder: Path
    mean: float
    share: float
    possible: float


def targets_by_round(
    rounds: Sequence[SealedRound], windows: Windows, chunk: int
) -> list[RoundTargets]:
    """Return how long the targets of each round with samples are, in order."""
    episode = windows.episodes
    ends = windows.episode_starts + np.concatenate([sealed.lengths for sealed in rounds])
    of_round = windows.round_of_episode[episode]
    possible = np.minimum(ends[episode] - windows.frames, chunk)
    samples, valid, most = (
        np.bincount(of_round, weights=weights, minlength=len(rounds))
        for weights in (None, windows.target_lengths, possible)
    )
    return [
        RoundTargets(rounds[r].folder, valid[r] / samples[r], valid[r] / valid.sum(), most[r] / n)
        for r, n in enumerate(samples)
        if n
    ]


def in_words(targets: Sequence[RoundTargets], chunk: int) -> str:
    """Return each round's mean number of valid steps and its share of all of them."""
    rounds = ", ".join(f"{t.folder.name} {t.mean:.1f} ({t.share:.0%} of all)" for t in targets)
    return f"valid steps of a chunk of {chunk}: {rounds}"


def warn_of_short_targets(targets: Sequence[RoundTargets], longest: int, chunk: int) -> None:
    """Log what no target, or hardly one of a round, says anything about.

    Args:
        targets: Of each round.
        longest: The valid steps of the longest target of all.
        chunk: Steps of a chunk.
    """
    if longest < chunk:
        _log.warning(
            "no target has more than %d valid steps of a chunk of %d (interface.chunk): nothing is "
            "learnt about the later ones; collect with labels: {relabel: rollout}",
            longest,
            chunk,
        )
        return
    for each in targets:
        if each.mean < _FAR_BELOW * each.possible:
            _log.warning(
                "%s: a target has %.1f valid steps of a chunk of %d (interface.chunk) on average, "
                "where its episodes have room for %.1f: it says little about the later steps (%.0f "
                "%% of all valid ones are its); collect it with labels: {relabel: rollout}, or "
                "shorten the chunk",
                each.folder,
                each.mean,
                chunk,
                each.possible,
                100 * each.share,
            )
