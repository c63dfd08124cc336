"""Which frames are samples, and where each one's observations and actions lie.

A *frame* is a step of an episode, numbered over all rounds. The *action rows* are the ``action``
rows of all frames, followed by the rows of all label chunks, so that every target is a run of
action rows, whichever it comes from.

Shape legend: N frames, E episodes, L labels, H steps of a label chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from data_collection.episodes import SealedRound
from data_collection.episodes.schema import (
    ACTION,
    ACTION_VALID,
    ACTOR,
    EXECUTED_ACTION,
    EXPERT,
    LABEL_CHUNK,
    LABEL_FRAME,
    LABEL_VALID,
)


@dataclass(frozen=True)
class Windows:
    """The samples of some rounds, in the smallest dtypes that hold them.

    Attributes:
        episode_starts: (E,) the first frame of each episode.
        round_of_episode: (E,) the round, numbered as given.
        frames: (samples,) the frame of each sample.
        target_starts: (samples,) the first action row of each target; None where all targets
            start at the sample's own frame.
        target_lengths: (samples,) how many steps of each target are valid, 1 … chunk.
    """

    episode_starts: np.ndarray
    round_of_episode: np.ndarray
    frames: np.ndarray
    target_starts: np.ndarray | None
    target_lengths: np.ndarray

    @property
    def episodes(self) -> np.ndarray:
        """Return (samples,) int64: the episode of each sample."""
        return np.searchsorted(self.episode_starts, self.frames, side="right") - 1

    def where(self, chosen: np.ndarray) -> Windows:
        """Return those samples for which ``chosen`` (samples,) holds; all episodes stay."""
        starts = self.target_starts
        return replace(
            self,
            frames=self.frames[chosen],
            target_starts=None if starts is None else starts[chosen],
            target_lengths=self.target_lengths[chosen],
        )


def make_windows(rounds: Sequence[SealedRound], chunk: int) -> Windows:
    """Return the samples of ``rounds``: the frames with at least one valid target step."""
    lengths = np.concatenate([sealed.lengths for sealed in rounds])
    total = int(lengths.sum())
    starts = np.arange(total)
    counts = np.empty(total, dtype=np.int64)
    frame, label_row = 0, total
    for sealed in rounds:
        own = slice(frame, frame + int(sealed.lengths.sum()))
        counts[own] = valid_lengths(
            sealed.read_rows(ACTION_VALID), _executed_by_expert(sealed, chunk), sealed.lengths
        )
        if has_labels(sealed):
            _point_to_labels(sealed, label_row, starts[own], counts[own])
            label_row += label_rows(sealed)
        frame = own.stop
    frames = np.flatnonzero(counts)
    row_dtype = np.int32 if label_row < 2**31 else np.int64
    return Windows(
        episode_starts=np.cumsum(lengths) - lengths,
        round_of_episode=np.repeat(np.arange(len(rounds)), [len(r.ids) for r in rounds]),
        frames=frames.astype(row_dtype),
        target_starts=starts[frames].astype(row_dtype) if label_row > total else None,
        target_lengths=np.minimum(counts[frames], chunk).astype(np.min_scalar_type(chunk)),
    )


def valid_lengths(
    action_valid: np.ndarray, by_expert: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """Return (N,) int64: how many steps of the recorded actions are a valid target from each on.

    The action of step t+k is what the expert would do in the state which the recorded steps
    t … t+k-1 led to. It continues the expert's plan of step t only if the expert itself executed
    all of them (``by_expert``), so a run ends at a step without a valid action, after a step which
    another actor executed or which was disturbed, and at the end of the episode.
    """
    goes_on = action_valid & by_expert
    goes_on[np.cumsum(lengths) - 1] = False
    steps = np.arange(len(goes_on))
    stops = np.where(goes_on, len(goes_on), steps)
    stop = np.minimum.accumulate(stops[::-1])[::-1]  # the first step at or after t not to go on
    return stop - steps + action_valid[stop]


def _executed_by_expert(sealed: SealedRound, chunk: int) -> np.ndarray:
    """Return (N,) bool: whether the expert itself executed a step, and without disturbance."""
    acted = sealed.read_rows(ACTOR) == EXPERT
    if chunk == 1:  # what follows a step does not matter then, and need not be read
        return acted
    return acted & (sealed.read_rows(EXECUTED_ACTION) == sealed.read_rows(ACTION)).all(axis=1)


def label_lengths(label_valid: np.ndarray) -> np.ndarray:
    """Return (L,) int64: how many steps from the first on are valid, of ``label_valid`` (L, H)."""
    return np.logical_and.accumulate(label_valid, axis=1).sum(axis=1, dtype=np.int64)


def has_labels(sealed: SealedRound) -> bool:
    """Return whether label chunks were recorded."""
    return LABEL_CHUNK in sealed.keys


def longest_target(sealed: SealedRound) -> int:
    """Return the steps of a round's longest episode, or of its label chunks if they have more."""
    longest = int(sealed.lengths.max())
    return max(longest, sealed.extents(LABEL_CHUNK).row_shape[0]) if has_labels(sealed) else longest


def label_rows(sealed: SealedRound) -> int:
    """Return the number of action rows in all label chunks of a round."""
    extents = sealed.extents(LABEL_CHUNK)
    return int(extents.rows.sum()) * extents.row_shape[0]


def _point_to_labels(
    sealed: SealedRound, first_row: int, starts: np.ndarray, counts: np.ndarray
) -> None:
    """Let the labelled frames of a round start at their label chunk, in place.

    A label chunk without a valid first step is none: the recorded actions stay the target.
    """
    extents = sealed.extents(LABEL_CHUNK)
    episode_starts = np.cumsum(sealed.lengths) - sealed.lengths
    frames = sealed.read_rows(LABEL_FRAME) + np.repeat(episode_starts, extents.rows)
    lengths = label_lengths(sealed.read_rows(LABEL_VALID))
    rows = first_row + np.arange(len(frames)) * extents.row_shape[0]
    usable = lengths > 0
    starts[frames[usable]] = rows[usable]
    counts[frames[usable]] = lengths[usable]
