"""Turns a local LeRobot data set into a sealed round.

python -m data_collection.import_lerobot pusht --save_dir data/pusht \
    --keys observation.state --cameras head=observation.image
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_collection.episodes import SealedRound
from data_collection.episodes.schema import STATE
from data_collection.importing.imported_round import (
    add_round_options,
    by_name,
    camera_option,
    import_round,
    recorded,
    round_folder,
    summary,
)
from data_collection.importing.lerobot_episode import LerobotEpisode, judged_by, step_shapes
from data_collection.importing.lerobot_folder import LerobotFolder
from trainer.cli import nonnegative, run_command
from trainer.errors import DataError
from trainer.files import sha256_of


@dataclass(frozen=True)
class Wanted:
    """What is taken from the data set.

    Attributes:
        keys: Vectors, joined in this order to the state.
        cameras: Videos or columns of images, by the name that the camera gets.
        episodes: Their numbers; empty: all.
    """

    keys: tuple[str, ...] = (STATE,)
    cameras: Mapping[str, str] = field(default_factory=dict)
    episodes: tuple[int, ...] = ()


def import_dataset(dataset: LerobotFolder, wanted: Wanted, folder: Path) -> SealedRound:
    """Return the sealed round in ``folder``: written now, gone on with, or found finished.

    Raises:
        DataError: The data set is not whole, or has not what is wanted, or ``folder`` holds
            another round.
    """
    try:
        shapes = step_shapes(dataset, wanted.keys, wanted.cameras)
        episodes = [
            LerobotEpisode(dataset, number, said)
            for number, said in dataset.episodes(wanted.episodes).items()
        ]
        # All are looked at before one is written.
        used = set().union(*(episode.check(wanted.cameras) for episode in episodes))
        config = {
            "source": {
                "format": "lerobot",
                "folder": dataset.folder.resolve().name,
                "codebase_version": dataset.version,
                "info_sha256": sha256_of(dataset.info_file),
                "robot_type": dataset.robot,
                "keys": list(wanted.keys),
                "cameras": dict(wanted.cameras),
                "episodes": [episode.number for episode in episodes],
                "tasks": {n: text for n, text in sorted(dataset.tasks().items()) if n in used},
            },
            "recorded": recorded(dataset.fps, shapes),
        }
        reading = {
            f"episode_{episode.number:06d}": functools.partial(
                episode.read, wanted.keys, wanted.cameras
            )
            for episode in episodes
        }
        return import_round(folder, config, reading)
    except OSError as error:
        raise DataError(f"{dataset} cannot be read whole: {error}") from error


def main(arguments: Sequence[str]) -> int:
    """Import from the command line and return the exit code."""
    args = _parser().parse_args(arguments)
    wanted = Wanted(tuple(args.keys), by_name(args.cameras), tuple(args.episodes))
    dataset = LerobotFolder(args.folder)
    sealed = import_dataset(dataset, wanted, round_folder(args))
    sys.stdout.write(f"{judged_by(dataset)}\n{summary(sealed)}")
    return 0


def _short(key: str) -> str:
    return key.removeprefix("observation.").removeprefix("images.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_collection.import_lerobot",
        description="Turn a local LeRobot data set (v2.0, v2.1 or v3.0) into a sealed round.",
        epilog="example: python -m data_collection.import_lerobot pusht --save_dir data/pusht "
        "--keys observation.state --cameras head=observation.image",
    )
    parser.add_argument("folder", type=Path, help="the data set's folder, with meta/info.json")
    add_round_options(parser)
    parser.add_argument(
        "--keys", nargs="+", default=[STATE], metavar="KEY",
        help=f"vectors that make the state, in this order (default: {STATE})",
    )  # fmt: skip
    parser.add_argument(
        "--cameras", nargs="+", type=camera_option(_short), default=[], metavar="[NAME=]KEY",
        help="videos or columns of images (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--episodes", nargs="+", type=nonnegative, default=[], metavar="N",
        help="their numbers in the data set (default: all)",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    run_command(main, resumes=True)
