"""Shows what a sealed round holds, in figures and in pictures, and checks it on request.

python -m data_collection.show data/pick_place/exp1/round_000 --sheet sheet.png --video clips.mp4
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from data_collection.clips import choose_cameras, choose_episodes, write_clips, write_sheet
from data_collection.episodes import (
    EpisodeError,
    SealedRound,
    is_sealed,
    open_round,
    verify_round,
)
from trainer.cli import USER_ERROR_EXIT, run_command
from trainer.errors import DataError
from trainer.yaml_file import from_yaml

_DIMENSIONS_SHOWN = 12
_FPS = 20.0
"""Of videos of rounds that do not say their control rate."""


def describe_round(sealed: SealedRound) -> Iterator[str]:
    """Yield the lines that say what a round holds."""
    yield from _overview(sealed)
    yield ""
    yield from _keys(sealed)
    yield ""
    yield from _statistics(sealed)


def _overview(sealed: SealedRound) -> Iterator[str]:
    records = sealed.manifest.values()
    successes = sum(record.attributes.success for record in records)
    returns = np.array([record.total_reward for record in records])
    lengths = sealed.lengths
    steps = int(lengths.sum())
    shares = {
        name: sum(record.actors[name] * record.length for record in records) / steps
        for name in next(iter(records)).actors
    }
    files, megabytes = len(sealed.index.files), int(sealed.index.sizes.sum()) / 1e6
    yield f"round        {sealed.folder}"
    yield f"environment  {_environment(sealed)}"
    yield f"episodes     {len(records):,} in {files:,} file(s), {megabytes:,.1f} MB"
    yield f"frames       {steps:,}"
    yield f"success      {successes / len(records):.3f} ({successes} of {len(records)})"
    yield f"length       median {np.median(lengths):g}, {lengths.min()} to {lengths.max()}"
    yield f"return       mean {returns.mean():.6g}, {returns.min():.6g} to {returns.max():.6g}"
    yield "actors       " + ", ".join(f"{name} {share:.3f}" for name, share in shares.items())


def _environment(sealed: SealedRound) -> str:
    environment = _config(sealed).get("environment")
    if environment is None:
        return "not recorded"
    return yaml.safe_dump(environment, default_flow_style=True, width=10**6).strip()


def _config(sealed: SealedRound) -> Mapping[str, object]:
    config = from_yaml(sealed.config_yaml)
    return config if isinstance(config, dict) else {}


def _keys(sealed: SealedRound) -> Iterator[str]:
    width = max(map(len, sealed.keys))
    yield f"{'key':<{width}}  {'dtype':<8} {'rows':>9} {'row shape':<16} {'bytes':>15}"
    for key in sealed.keys:
        extents = sealed.extents(key)
        rows = int(extents.rows.sum())
        yield (
            f"{key:<{width}}  {extents.dtype.name:<8} {rows:>9,} {extents.row_shape!s:<16} "
            f"{rows * extents.row_bytes:>15,}"
        )


def _statistics(sealed: SealedRound) -> Iterator[str]:
    yield f"{'statistics':<28}{'mean':>12}{'std':>12}{'min':>12}{'max':>12}"
    for key, statistics in sealed.statistics.items():
        columns = (statistics.mean, statistics.std, statistics.min, statistics.max)
        for dimension, values in enumerate(zip(*columns, strict=True)):
            if dimension == _DIMENSIONS_SHOWN:
                yield f"{key}: {len(statistics.mean) - dimension} more dimensions"
                break
            yield f"{f'{key}[{dimension}]':<28}" + "".join(f"{v:>12.4g}" for v in values)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0, or 2 when ``--verify`` finds damage."""
    args = _parser().parse_args(arguments)
    if args.verify and is_sealed(args.round):
        damage = verify_round(args.round)
        if damage:
            sys.stdout.write("\n".join(["damaged:", *damage]) + "\n")
            return USER_ERROR_EXIT
    try:
        sealed = open_round(args.round)
        lines = list(describe_round(sealed))
        if args.sheet or args.video:
            lines += ["", *_pictures(sealed, args)]
    except EpisodeError as error:
        raise DataError(str(error)) from error
    if args.verify:
        lines += ["", "every hash matches"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _pictures(sealed: SealedRound, args: argparse.Namespace) -> Iterator[str]:
    """Write the sheet and the video that were asked for, and yield where they are."""
    cameras = choose_cameras(sealed, args.camera)
    episodes = choose_episodes(sealed, args.episodes)
    if args.sheet:
        write_sheet(args.sheet, sealed, episodes, cameras)
        yield f"sheet        {args.sheet}"
    if args.video:
        recorded = _config(sealed).get("recorded")
        rate = recorded.get("control_hz") if isinstance(recorded, dict) else None
        write_clips(args.video, sealed, episodes, cameras, fps=rate or _FPS)
        yield f"video        {args.video}"


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers such as 0,3,5, got {text!r}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_collection.show",
        description="Show what a sealed round holds, in figures and in pictures.",
        epilog="examples:\n"
        "  python -m data_collection.show data/pick_place/exp1/round_000\n"
        "  python -m data_collection.show data/pick_place/exp1/round_000 --verify\n"
        "  python -m data_collection.show data/door/exp1/round_000 --sheet sheet.png "
        "--video clips.mp4 --episodes 0,3,5 --camera head",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("round", type=Path, help="the folder of a sealed round")
    parser.add_argument(
        "--verify", action="store_true", help="check every hash; exit code 2 names what is damaged"
    )
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="write a contact sheet (PNG)")
    parser.add_argument("--video", type=Path, metavar="FILE", help="write a video (MP4)")
    parser.add_argument(
        "--episodes", type=_numbers, metavar="N,N", help="which ones (default: a few of all)"
    )
    parser.add_argument(
        "--camera", action="append", default=[], metavar="NAME", help="which ones (default: all)"
    )
    return parser


if __name__ == "__main__":
    run_command(main)
