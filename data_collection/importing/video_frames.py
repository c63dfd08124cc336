"""The frames of a video file, by the times at which they are shown."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from trainer.errors import DataError


def frame_times(video: Path) -> np.ndarray:
    """Return when each frame is shown, (F,) float64 seconds after the first, without decoding.

    Raises:
        DataError: The file is missing, or holds no video.
    """
    if not video.is_file():
        raise DataError(f"{video} is not there")
    # Copying the packets to a list of checksums reads their times and nothing else of them.
    listing = subprocess.run(
        [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(video), "-map", "0:v:0"),
            *("-c", "copy", "-f", "framecrc", "-"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    lines = listing.stdout.splitlines()
    base = next((line.split()[-1] for line in lines if line.startswith("#tb 0:")), None)
    shown = [int(line.split(",")[2]) for line in lines if line and not line.startswith("#")]
    if listing.returncode or base is None or not shown:
        said = (listing.stderr.strip().splitlines() or ["no frames"])[-1]
        raise DataError(f"{video} cannot be read as a video: {said}")
    rising = np.sort(np.array(shown, dtype=np.int64))  # packets lie in the order of decoding
    return (rising - rising[0]) * float(Fraction(base))


def read_frames(video: Path, times_s: np.ndarray, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the chosen frames, (H, W, 3) uint8, decoding from the first of them to the last.

    Args:
        video: The file.
        times_s: What ``frame_times`` returns for it.
        chosen: The numbers of the frames, not falling; one may come twice.

    Raises:
        DataError: A frame cannot be decoded.
    """
    first, last = int(chosen[0]), int(chosen[-1])
    # Half-way from the frame before, so that rounding skips none and takes none too many.
    begin_s = (times_s[first - 1] + times_s[first]) / 2 if first else 0.0
    frames = imageio_ffmpeg.read_frames(
        video,
        pix_fmt="rgb24",
        input_params=["-ss", f"{begin_s:.6f}"] if first else [],
        output_params=[
            *("-map", "0:v:0", "-fps_mode", "passthrough", "-frames:v", str(last - first + 1))
        ],
    )
    number, frame = first - 1, b""
    try:
        width, height = next(frames)["size"]
        for wanted in chosen.tolist():
            while number < wanted:
                frame, number = next(frames), number + 1
            yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)
    except (StopIteration, OSError, RuntimeError) as error:
        raise DataError(f"{video}: frame {number + 1} cannot be decoded") from error
    finally:
        frames.close()


def nearest_frames(times_s: np.ndarray, wanted_s: np.ndarray) -> np.ndarray:
    """Return the number of the frame that is nearest to each wanted time, (T,) int64."""
    between_s = (times_s[1:] + times_s[:-1]) / 2
    return np.searchsorted(between_s, wanted_s)
