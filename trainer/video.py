"""MP4 files from frames, and of the episodes of a rollout."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable
from pathlib import Path

import imageio.v2 as imageio
import numpy as np

from trainer.environment import StepResult
from trainer.files import cannot_write
from trainer.rollout import EpisodeResult, RolloutHooks, Slot

_VIDEO_FPS = 20
_BROKE_OFF = "ffmpeg broke off, as it does on a full disk"


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write frames (H, W, 3) uint8 as H.264; the file appears under its name when it is whole.

    Odd heights and widths lose their last row or column: the codec's colour planes are halved.

    Raises:
        ValueError: There are no frames.
        UserError: It cannot be written; an old video of that name is still there.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{path}: expected at least one frame, got none")
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.mp4")
    try:
        writer = imageio.get_writer(
            temporary, fps=fps, codec="libx264", pixelformat="yuv420p", macro_block_size=1
        )
        with contextlib.closing(writer):  # as a context it would leave ffmpeg running on errors
            for frame in itertools.chain([first], frames):
                height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
                # Without stubs, the type of a writer lacks its methods.
                try:
                    writer.append_data(  # type: ignore[attr-defined]
                        np.ascontiguousarray(frame[:height, :width])
                    )
                except OSError as error:
                    raise cannot_write(path, _BROKE_OFF) from error
        if not _is_whole(temporary):
            raise cannot_write(path, _BROKE_OFF)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    """Return whether an MP4 ends with its index: ffmpeg tells nobody here that it has failed."""
    content = path.read_bytes() if path.exists() else b""
    start = content.rfind(b"moov") - 4  # a box is its size, its name, and what it holds
    return start >= 0 and int.from_bytes(content[start : start + 4]) == len(content) - start


class VideoHooks(RolloutHooks):
    """Films chosen episodes, a frame a control step, at 20 frames a second or real time."""

    def __init__(self, folder: Path, episodes: set[str]) -> None:
        self.folder = folder
        self.episodes = episodes
        self.videos: list[Path] = []
        """What was written."""
        self._frames: dict[str, list[np.ndarray]] = {}

    def on_step(self, slot: Slot, action: np.ndarray, result: StepResult) -> None:
        """Take a picture of what the step led to."""
        if slot.job.id in self.episodes:
            self._frames.setdefault(slot.job.id, []).append(slot.environment.render())

    def on_episode_end(self, slot: Slot, result: EpisodeResult) -> None:
        """Write ``episode_{id}_{success|failure}.mp4``."""
        frames = self._frames.pop(result.id, None)
        if frames:
            outcome = "success" if result.success else "failure"
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"episode_{result.id}_{outcome}.mp4"
            write_video(path, frames, min(_VIDEO_FPS, slot.environment.control_hz))
            self.videos.append(path)
