"""Which episodes count, and how much, by the scores that ``trainer/score.py`` gave them.

Shape legend: E episodes, numbered over all rounds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from data_collection.episodes import SealedRound
from data_collection.episodes.reader import read_round_file
from trainer.errors import DataError, MissingDataError
from trainer.schema import Strict


class EpisodeScores(Strict):
    """A file of scores, and exactly one way to use it."""

    file: str
    """What ``trainer/score.py`` wrote, relative to the project root."""
    keep: Annotated[float, Field(gt=0, le=1)] | None = None
    """The share of the episodes to keep: those with the highest scores, all alike."""
    temperature: PositiveFloat | None = None
    """Frames are drawn in proportion to exp(their episode's score / temperature)."""

    @model_validator(mode="after")
    def _one_use(self) -> EpisodeScores:
        if (self.keep is None) == (self.temperature is None):
            raise ValueError("give exactly one of keep and temperature")
        return self

    def weigh(self, scores_e: np.ndarray) -> np.ndarray:
        """Return (E,) float64 weights of at most 1; those of ``keep`` are 1 and 0."""
        if self.temperature is not None:
            return np.exp((scores_e - scores_e.max()) / self.temperature)
        share = 1.0 if self.keep is None else self.keep
        kept = max(1, round(share * len(scores_e)))
        weight_e = np.zeros(len(scores_e))
        weight_e[np.argsort(-scores_e, kind="stable")[:kept]] = 1.0
        return weight_e


def episode_weights(
    choice: EpisodeScores, root: Path, rounds: Sequence[SealedRound], sampled: np.ndarray
) -> np.ndarray:
    """Return (E,) float64 how much the samples of each episode count.

    Args:
        choice: What the experiment says.
        root: Project root.
        rounds: Where the episodes lie.
        sampled: The episodes which have samples; the others need no score.

    Raises:
        DataError: There is no such file, it is damaged, or lacks some of the episodes.
    """
    weight_e = np.ones(sum(len(sealed.ids) for sealed in rounds))
    identities = episode_identities(rounds, root)
    path = root / Path(choice.file).expanduser()
    weight_e[sampled] = choice.weigh(_read_scores(path, [identities[e] for e in sampled]))
    return weight_e


def multiplied(by_round: np.ndarray | None, by_episode: np.ndarray) -> np.ndarray | None:
    """Return the product of two weights of each sample, None when all count the same."""
    if (by_episode == 1.0).all():
        return by_round
    return by_episode if by_round is None else by_round * by_episode


def episode_identities(rounds: Sequence[SealedRound], root: Path) -> list[dict[str, str]]:
    """Return round, id and content hash of each episode.

    The hash is what identifies it: rounds may move, and ids begin anew in every round.
    """
    return [
        {"round": _shown(sealed.folder, root), "id": rollout_id, "content_sha256": sha256}
        for sealed in rounds
        for rollout_id, sha256 in sorted(read_round_file(sealed.folder).episodes.items())
    ]


def _shown(folder: Path, root: Path) -> str:
    """Return the folder as a YAML names it: relative to the project root where it lies in it."""
    return str(folder.relative_to(root) if folder.is_relative_to(root) else folder)


def _read_scores(path: Path, identities: Sequence[Mapping[str, str]]) -> np.ndarray:
    """Return the score of each of these episodes."""
    if not path.is_file():
        raise MissingDataError(
            f"episode_scores: there is no file {path}; let trainer/score.py write it first"
        )
    try:
        entries = json.loads(path.read_text())["episodes"]
        scores = {entry["content_sha256"]: float(entry["score"]) for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"episode_scores: {path} is not what trainer/score.py writes: {error!r}"
        ) from error
    missing = [each for each in identities if each["content_sha256"] not in scores]
    if missing:
        raise DataError(
            f"episode_scores: {path} has no score for {len(missing)} of {len(identities)} "
            f"episodes, such as {missing[0]['id']} of {missing[0]['round']}: it is of other data; "
            "score these rounds with trainer/score.py"
        )
    return np.array([scores[each["content_sha256"]] for each in identities])
