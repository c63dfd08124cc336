"""What warping a picture to later frames costs, and how near it comes to drawing them.

python benchmarks/warp.py [--json FILE]

The simulator's own pictures are warped, so that the truth is known: each of them by the optical
flow to the frames up to the next generated one. The other column keeps the old picture.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from common import Row, parser, report, versions

from data_collection.envs.meta_world import MetaWorld
from data_collection.rendering.cameras import CameraConfig
from data_collection.rendering.frames import Frame
from data_collection.rendering.warp import warp
from data_collection.teachers.meta_world_expert import MetaWorldExpert

SCENES = (
    ("pick-place-v3", "corner2"),
    ("drawer-open-v3", "corner2"),
    ("pick-place-v3", "gripperPOV"),
    ("drawer-open-v3", "gripperPOV"),
)
"""Tasks and cameras: one that stands, and one that moves with the hand."""

INTERVALS = (1, 3, 7)
PIXELS = 128
_HEAD = "head"


@dataclass(frozen=True, eq=False)
class Moment:
    """What the camera saw at one step of an episode."""

    picture_hwc: np.ndarray
    frame: Frame


def moments(task: str, camera: str, steps: int) -> list[Moment]:
    """Return the first steps of an episode that the expert drives."""
    config = CameraConfig(camera=camera, height=PIXELS, width=PIXELS, depth=True, segmentation=True)
    environment = MetaWorld(task=task, cameras={_HEAD: config})
    expert, generator = MetaWorldExpert(), np.random.default_rng(0)
    observation = environment.reset(0)
    seen = []
    for _ in range(steps):
        picture = observation[f"observation.images.{_HEAD}"].transpose(1, 2, 0)
        seen.append(Moment(picture, environment.views.frame(_HEAD, observation)))
        observation = environment.step(expert.act(environment, observation, generator)).observation
    environment.close()
    return seen


def measure(task: str, camera: str, interval: int, steps: int) -> Row:
    """Return the row of one scene, ``interval`` steps away from the picture that is known."""
    seen = moments(task, camera, steps)
    visible, whole, copied_visible, copied, shares, seconds = ([] for _ in range(6))
    for old, new in zip(seen, seen[interval:], strict=False):
        start = time.process_time()
        warped = warp(old.picture_hwc, old.frame, new.frame)
        seconds.append(time.process_time() - start)
        valid = warped.valid_hw
        visible.append(psnr(warped.image_hwc[valid], new.picture_hwc[valid]))
        copied_visible.append(psnr(old.picture_hwc[valid], new.picture_hwc[valid]))
        whole.append(psnr(warped.image_hwc, new.picture_hwc))
        copied.append(psnr(old.picture_hwc, new.picture_hwc))
        shares.append(valid.mean())
    return {
        "name": f"{task}, {camera}, {interval} step{'s' if interval > 1 else ''} on",
        "ms a frame": round(1e3 * statistics.median(seconds), 2),
        "visible": round(100 * float(np.mean(shares)), 1),
        "PSNR visible": round(float(np.mean(visible)), 1),
        "copy visible": round(float(np.mean(copied_visible)), 1),
        "PSNR filled": round(float(np.mean(whole)), 1),
        "copy": round(float(np.mean(copied)), 1),
    }


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB; of equal pictures that of half a grey level."""
    error = np.square(picture.astype(np.float64) - truth).mean()
    return float(10 * np.log10(255**2 / max(error, 0.25)))


def main(arguments: Sequence[str]) -> None:
    """Measure and print the table."""
    args = parser("Warped pictures against drawn ones, and against the old picture.").parse_args(
        arguments
    )
    rows = [
        measure(task, camera, interval, steps=10 if args.quick else 60)
        for task, camera in SCENES
        for interval in INTERVALS
        if args.only in task
    ]
    report(rows, versions("mujoco", "metaworld", "numpy"), args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
