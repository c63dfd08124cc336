"""The steps of a running episode, as they are recorded."""

from __future__ import annotations

import numpy as np

from data_collection.episodes.jpeg import join_frames
from data_collection.episodes.schema import (
    ACTION,
    ACTION_VALID,
    ACTOR,
    EXECUTED_ACTION,
    JPEG_DATA,
    JPEG_OFFSETS,
    REWARD,
    TERMINATED,
    TEXT_DATA,
    TEXT_INDEX,
    TRUNCATED,
)
from data_collection.episodes.texts import join_texts
from data_collection.recording import RecordingConfig
from trainer.environment import Observation, StepResult

EpisodeArrays = dict[str, np.ndarray]
"""One episode by batch key, T rows each: T observations and the T actions that answered them."""

_FIRST_ROWS = 256


class EpisodeBuffer:
    """Takes one step after another; all steps have the same keys, shapes and dtypes.

    Args:
        recording: What is kept of the observations.
    """

    def __init__(self, recording: RecordingConfig | None = None) -> None:
        self._recording = recording or RecordingConfig()
        self._columns: dict[str, _Column] = {}
        self._frames: dict[str, list[bytes]] = {}
        self._texts: dict[str, list[str]] = {}
        self._labelled: list[bool] = []
        self._actors: list[int] = []
        self._rewards: list[float] = []
        self._terminated: list[bool] = []
        self._truncated: list[bool] = []

    def add(
        self,
        observation: Observation,
        label: np.ndarray | None,
        executed: np.ndarray,
        actor: int,
        result: StepResult,
    ) -> None:
        """Append one step: what was seen, what the expert would do, what was done, by whom."""
        for key, value in self._recording.keep(observation).items():
            if isinstance(value, bytes):
                self._frames.setdefault(key, []).append(value)
            elif value.dtype.kind == "U":
                self._texts.setdefault(key, []).append(str(value))
            else:
                self._append(key, value, value.dtype)
        self._append(EXECUTED_ACTION, executed, np.float32)
        self._append(ACTION, np.zeros_like(executed) if label is None else label, np.float32)
        self._labelled.append(label is not None)
        self._actors.append(actor)
        self._rewards.append(result.reward)
        self._terminated.append(result.terminated)
        self._truncated.append(result.truncated)

    def arrays(self) -> EpisodeArrays:
        """Return the episode as the arrays of an episode file; nothing may be added after this."""
        arrays = {key: column.array for key, column in self._columns.items()}
        for key, frames in self._frames.items():
            arrays[key + JPEG_DATA], arrays[key + JPEG_OFFSETS] = join_frames(frames)
        for key, texts in self._texts.items():
            arrays[key + TEXT_DATA], arrays[key + TEXT_INDEX] = join_texts(texts)
        return arrays | {
            ACTION_VALID: np.array(self._labelled),
            ACTOR: np.array(self._actors, dtype=np.uint8),
            REWARD: np.array(self._rewards, dtype=np.float32),
            TERMINATED: np.array(self._terminated),
            TRUNCATED: np.array(self._truncated),
        }

    def _append(self, key: str, row: np.ndarray, dtype: type | np.dtype) -> None:
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = _Column(row.shape, dtype)
        column.append(row)


class _Column:
    """An array that grows; a list of rows would take several times their memory and time."""

    def __init__(self, row_shape: tuple[int, ...], dtype: type | np.dtype) -> None:
        self._rows = np.empty((_FIRST_ROWS, *row_shape), dtype)
        self._count = 0

    @property
    def array(self) -> np.ndarray:
        return self._rows[: self._count]

    def append(self, row: np.ndarray) -> None:
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = row
        self._count += 1
