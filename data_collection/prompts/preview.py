"""Shows what the procedural generator makes of a prompt collection, on a scene of the simulator.

python -m data_collection.prompts.preview data_collection/prompts/outdoors.jsonl --out sheet.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_collection.envs.meta_world import MetaWorld
from data_collection.prompts import load_prompts
from data_collection.rendering.cameras import CameraConfig
from data_collection.rendering.generators import Prompt, Scene
from data_collection.rendering.generators.procedural import Procedural
from data_collection.rendering.sheet import caption, write_png
from data_collection.rendering.tiling import tile
from trainer.cli import positive, run_command
from trainer.errors import UserError
from trainer.seeding import stream_seed

_CAMERA = "head"
_SEED = 0


def preview(
    prompts: Sequence[Prompt],
    *,
    task: str = "drawer-open-v3",
    camera: str = "corner2",
    pixels: int = 160,
    columns: int = 6,
) -> np.ndarray:
    """Return a contact sheet (H, W, 3) uint8: a picture of each prompt, its words below.

    Args:
        prompts: At least one.
        task: Of Meta-World.
        camera: Of its model.
        pixels: Height and width of each picture.
        columns: Pictures in a row.

    Raises:
        ConfigError: There is no such task or camera.
    """
    depth_hw, mask_hw = _scene(task, camera, pixels)
    scenes = [
        Scene(depth_hw, mask_hw, prompt, stream_seed(_SEED, "preview", number))
        for number, prompt in enumerate(prompts)
    ]
    pictures = Procedural().generate(scenes)
    captions = [(prompt.foreground, prompt.background) for prompt in prompts]
    return tile(
        [
            np.concatenate([picture, *(caption(text, pixels) for text in texts)])
            for picture, texts in zip(pictures, captions, strict=True)
        ],
        columns=min(columns, len(prompts)),
    )


def _scene(task: str, camera: str, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return depth and rigid parts of the first moment of an episode, each (H, W)."""
    config = CameraConfig(camera=camera, height=pixels, width=pixels, depth=True, segmentation=True)
    environment = MetaWorld(task=task, cameras={_CAMERA: config})
    frame = environment.views.frame(_CAMERA, environment.reset(_SEED))
    parts_n = environment.views.rigid_parts
    environment.close()
    return frame.depth_hw, parts_n[frame.object_hw]


def main(arguments: Sequence[str]) -> int:
    """Write the contact sheet and return the exit code."""
    args = _parser().parse_args(arguments)
    prompts = load_prompts(args.collection).prompts
    shown = prompts if args.count is None else prompts[: args.count]
    out = args.out or Path(f"{args.collection.stem}.png")
    if not out.absolute().parent.is_dir():
        raise UserError(f"--out {out}: no folder {out.absolute().parent}")
    write_png(out, preview(shown, task=args.task, camera=args.camera, pixels=args.pixels))
    sys.stdout.write(f"{len(shown)} of {len(prompts)} prompts: {out}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_collection.prompts.preview",
        description="Write a contact sheet: what the procedural generator makes of each prompt.",
        epilog="example: python -m data_collection.prompts.preview "
        "data_collection/prompts/outdoors.jsonl --out sheet.png --count 24",
    )
    parser.add_argument("collection", type=Path, help="JSON lines")
    parser.add_argument("--out", type=Path, help="a PNG (default: COLLECTION.png here)")
    parser.add_argument("--count", type=positive, help="the first so many (default: all)")
    default = "default: %(default)s"
    parser.add_argument("--task", default="drawer-open-v3", help=f"of Meta-World ({default})")
    parser.add_argument("--camera", default="corner2", help=f"of its model ({default})")
    parser.add_argument("--pixels", type=positive, default=160, help=default)
    return parser


if __name__ == "__main__":
    run_command(main)
