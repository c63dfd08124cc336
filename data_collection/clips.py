"""The pictures of recorded episodes, as contact sheets and videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_collection.episodes import SealedRound
from data_collection.episodes.jpeg import decode_frame
from data_collection.episodes.schema import IMAGE_PREFIX, JPEG_DATA, JPEG_OFFSETS
from data_collection.rendering.sheet import SheetRow, contact_sheet, write_png
from data_collection.rendering.tiling import tile, tile_clips
from trainer.errors import DataError, nearest
from trainer.files import writing
from trainer.video import write_video

_EPISODES = 8


class Clip(Sequence[np.ndarray]):
    """The frames of one episode, (H, W, 3) uint8, all cameras in one; read as they are asked for.

    Args:
        sealed: The round.
        episode: The episode's number in it.
        cameras: Whose pictures.
        columns: How many of them lie side by side.
    """

    def __init__(
        self, sealed: SealedRound, episode: int, cameras: Sequence[str], columns: int
    ) -> None:
        self._sealed = sealed
        self._episode = episode
        self._cameras = cameras
        self._columns = columns
        self._maps: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return int(self._sealed.lengths[self._episode])

    def __getitem__(self, step: int) -> np.ndarray:  # type: ignore[override] - never sliced
        """Return one frame; raise DataError when its JPEG is damaged."""
        frames = [self._frame(IMAGE_PREFIX + name, step) for name in self._cameras]
        return tile(frames, self._columns)

    def _frame(self, key: str, step: int) -> np.ndarray:
        if key in self._sealed.keys:
            return self._array(key)[step].transpose(1, 2, 0)
        start, stop = self._array(key + JPEG_OFFSETS)[step : step + 2]
        try:
            return decode_frame(self._array(key + JPEG_DATA)[start:stop])
        except ValueError as error:
            place = self._sealed.place(key, self._episode, step)
            raise DataError(f"{place} is not a whole JPEG: {error}") from error

    def _array(self, key: str) -> np.ndarray:
        if key not in self._maps:
            self._maps[key] = self._sealed.array(key, self._episode)
        return self._maps[key]


def choose_cameras(sealed: SealedRound, names: Sequence[str]) -> list[str]:
    """Return ``names``, or all cameras when there are none; raise DataError for an unknown one."""
    recorded = sealed.cameras()
    if not recorded:
        raise DataError(
            f"{sealed.folder}: no pictures were recorded; give the environment cameras "
            "(environment.params.cameras) and collect the round again"
        )
    for name in names:
        if name not in recorded:
            raise DataError(
                f"{sealed.folder}: no camera {name!r}{nearest(name, recorded)}; recorded: "
                f"{', '.join(recorded)}"
            )
    return list(names) or recorded


def choose_episodes(sealed: SealedRound, numbers: Sequence[int] | None) -> list[int]:
    """Return ``numbers``, or a few evenly spaced episodes; raise DataError for an unknown one."""
    count = len(sealed.ids)
    if numbers is None:
        chosen = np.linspace(0, count - 1, min(_EPISODES, count)).round().astype(int)
        return chosen.tolist()
    for number in numbers:
        if not 0 <= number < count:
            raise DataError(f"{sealed.folder}: no episode {number}; there are 0 to {count - 1}")
    return list(numbers)


def write_sheet(
    path: Path, sealed: SealedRound, episodes: Sequence[int], cameras: Sequence[str]
) -> None:
    """Write a PNG with a row of frames for each episode, its cameras below each other."""
    rows = [SheetRow(_caption(sealed, e), Clip(sealed, e, cameras, columns=1)) for e in episodes]
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, contact_sheet(rows))


def write_clips(
    path: Path, sealed: SealedRound, episodes: Sequence[int], cameras: Sequence[str], fps: float
) -> None:
    """Write an MP4 that plays the episodes together, a step a frame, cameras side by side."""
    clips = [Clip(sealed, e, cameras, columns=len(cameras)) for e in episodes]
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, tile_clips(clips), fps)


def _caption(sealed: SealedRound, episode: int) -> str:
    record = sealed.manifest[sealed.ids[episode]]
    outcome = "success" if record.attributes.success else "failure"
    return (
        f"{episode}: {record.id}, seed {record.attributes.seed}, {outcome}, {record.length} steps, "
        f"return {record.total_reward:.4g}"
    )
