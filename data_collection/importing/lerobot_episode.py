"""Reads an episode of a LeRobot data set: its rows, its pictures, and how it ended."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from data_collection.episodes.schema import ACTION, IMAGE_PREFIX, STATE, TASK
from data_collection.importing.imported_round import demonstrated
from data_collection.importing.lerobot_folder import (
    ACTION_KEY,
    EPISODE_INDEX,
    LerobotFolder,
    read_columns,
)
from data_collection.importing.video_frames import frame_times, nearest_frames, read_frames
from trainer.errors import DataError

SUCCESS, REWARD, DONE = "next.success", "next.reward", "next.done"
_FRAME_INDEX, _TIMESTAMP, _TASK_INDEX = "frame_index", "timestamp", "task_index"
_times_of = functools.lru_cache(maxsize=64)(frame_times)  # a video may hold many episodes


def judged_by(dataset: LerobotFolder) -> str:
    """Return what says whether an episode is a success."""
    if SUCCESS in dataset.features:
        return f"a success has {SUCCESS} at its end"
    if REWARD in dataset.features:
        return f"a success has a positive {REWARD} at its end"
    return f"there is neither {SUCCESS} nor {REWARD}: every episode counts as a success"


def step_shapes(
    dataset: LerobotFolder, keys: Sequence[str], cameras: Mapping[str, str]
) -> dict[str, tuple[int, ...]]:
    """Return the shape of one step of everything that is taken.

    Raises:
        DataError: Something is not there, or of another kind.
    """
    shapes: dict[str, tuple[int, ...]] = {
        STATE: (sum(dataset.vector_size(key) for key in keys),),
        ACTION: (dataset.vector_size(ACTION_KEY),),
    }
    for camera, key in cameras.items():
        shapes[IMAGE_PREFIX + camera] = (3, *dataset.picture_size(key))
    return shapes


@dataclass(frozen=True)
class LerobotEpisode:
    """An episode, and what the data set says about it."""

    dataset: LerobotFolder
    number: int
    said: Mapping[str, object]

    def __str__(self) -> str:
        return f"{self.dataset}: episode {self.number}"

    def check(self, cameras: Mapping[str, str]) -> set[int]:
        """Return the numbers of its tasks after looking at its rows and videos, decoding nothing.

        Raises:
            DataError: Rows or frames are missing.
        """
        names = [n for n in (_FRAME_INDEX, _TIMESTAMP, _TASK_INDEX) if n in self.dataset.features]
        rows = self._rows(names)
        steps, expected = len(rows[EPISODE_INDEX]), self.said.get("length")
        if not steps or expected not in (None, steps):
            raise DataError(f"{self} has {steps} rows, expected {expected or 'some'}")
        if _FRAME_INDEX in rows:
            frames = self._numbers(rows, _FRAME_INDEX, np.int64)[:, 0]
            if (wrong := frames != np.arange(steps)).any():
                at = int(wrong.argmax())
                raise DataError(f"{self}: row {at} is frame {frames[at]}; rows are missing")
        for key in cameras.values():
            if self.dataset.dtype(key) == "video":
                self._frames_shown(key, self._times(rows))
        if _TASK_INDEX not in rows:
            return set()
        return set(self._numbers(rows, _TASK_INDEX, np.int64)[:, 0].tolist())

    def read(
        self, keys: Sequence[str], cameras: Mapping[str, str]
    ) -> tuple[dict[str, np.ndarray], bool]:
        """Return the episode's arrays, one row a step, and whether it is a success."""
        features = self.dataset.features
        images = [key for key in cameras.values() if self.dataset.dtype(key) == "image"]
        told = (SUCCESS, REWARD, DONE, _TIMESTAMP, _TASK_INDEX)
        rows = self._rows([*keys, ACTION_KEY, *images, *(n for n in told if n in features)])
        steps = len(rows[EPISODE_INDEX])
        ends = {
            name: self._numbers(rows, name, np.float32)[:, 0]
            if name in rows
            else np.zeros(steps, np.float32)
            for name in (SUCCESS, REWARD, DONE)
        }
        arrays = demonstrated(
            np.concatenate([self._numbers(rows, key, np.float32) for key in keys], axis=1),
            self._numbers(rows, ACTION_KEY, np.float32),
            ends[REWARD],
            terminated=DONE not in rows or bool(ends[DONE][-1]),
        )
        if _TASK_INDEX in rows:
            arrays[TASK] = self._numbers(rows, _TASK_INDEX, np.int64)[:, 0]
        for camera, key in cameras.items():
            if key in images:
                frames = self._stored(rows[key], key)
            else:
                frames = self._filmed(key, self._times(rows))
            arrays[IMAGE_PREFIX + camera] = self._pictures(frames, key, steps)
        if SUCCESS in rows:
            return arrays, bool(ends[SUCCESS][-1] > 0)
        return arrays, REWARD not in rows or bool(ends[REWARD][-1] > 0)

    def _rows(self, names: Sequence[str]) -> dict[str, list]:
        """Return these columns of its rows, and ``episode_index``."""
        columns = list(dict.fromkeys([EPISODE_INDEX, *names]))
        return read_columns(self.dataset.data_file(self.said), columns, episode=self.number)

    def _numbers(self, rows: Mapping[str, list], name: str, dtype: type[np.generic]) -> np.ndarray:
        size = self.dataset.vector_size(name)
        try:
            values = np.array(rows[name], dtype=dtype)
        except (TypeError, ValueError) as error:
            raise DataError(f"{self}: {name} is not {size} numbers in each row") from error
        if values.size != len(rows[name]) * size:
            raise DataError(f"{self}: {name} has rows {values.shape[1:]}, expected ({size},)")
        return values.reshape(-1, size)

    def _times(self, rows: Mapping[str, list]) -> np.ndarray:
        if _TIMESTAMP in rows:
            return self._numbers(rows, _TIMESTAMP, np.float64)[:, 0]
        return np.arange(len(rows[EPISODE_INDEX])) / self.dataset.fps

    def _frames_shown(self, key: str, times_s: np.ndarray) -> tuple[Path, np.ndarray, np.ndarray]:
        """Return the video, when its frames are shown, and which of them each row has."""
        part = self.dataset.part(key, self.said)
        shown_s = _times_of(part.video)
        half_s = (
            float(np.median(np.diff(shown_s))) / 2 if len(shown_s) > 1 else 0.5 / self.dataset.fps
        )
        # The frame at the very end is the next episode's.
        begin, end = np.searchsorted(shown_s, (part.begin_s - half_s, part.end_s - half_s))
        if begin == end:
            raise DataError(f"{self}: {part.video} has no frame from {part.begin_s:g} s on")
        wanted_s = part.begin_s + times_s
        chosen = begin + nearest_frames(shown_s[begin:end], wanted_s)
        far = np.abs(shown_s[chosen] - wanted_s) > 0.75 / self.dataset.fps
        if far.any() or (np.diff(chosen) < 0).any():
            row = int(far.argmax())
            raise DataError(
                f"{self}: {part.video} has {end - begin} frames of it for {len(times_s)} rows, and "
                f"none near {wanted_s[row]:.3f} s, row {row}"
            )
        return part.video, shown_s, chosen

    def _filmed(self, key: str, times_s: np.ndarray) -> Iterator[np.ndarray]:
        return read_frames(*self._frames_shown(key, times_s))

    def _stored(self, column: Sequence[object], key: str) -> Iterator[np.ndarray]:
        for step, stored in enumerate(column):
            data = stored.get("bytes") if isinstance(stored, dict) else None
            if not isinstance(data, bytes):
                raise DataError(f"{self}: {key} holds no picture at step {step}")
            try:
                with Image.open(io.BytesIO(data)) as picture:
                    yield np.asarray(picture.convert("RGB"))
            except (UnidentifiedImageError, OSError) as error:
                raise DataError(f"{self}: {key} is no whole picture at step {step}") from error

    def _pictures(self, frames: Iterator[np.ndarray], key: str, steps: int) -> np.ndarray:
        """Return them as (T, 3, H, W)."""
        size = self.dataset.picture_size(key)
        pictures = np.empty((steps, 3, *size), dtype=np.uint8)
        for step, frame in enumerate(frames):
            if frame.shape != (*size, 3):
                raise DataError(f"{self}: {key} is {frame.shape[:2]} at step {step}, not {size}")
            pictures[step] = frame.transpose(2, 0, 1)
        return pictures
