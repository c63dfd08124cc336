"""Turns demonstrations in robomimic's HDF5 layout into a sealed round.

python -m data_collection.import_robomimic can.hdf5 --save_dir data/can --control_hz 20 \
    --keys robot0_eef_pos robot0_eef_quat robot0_gripper_qpos object --cameras agentview_image
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py

from data_collection.episodes import SealedRound
from data_collection.importing.imported_round import (
    add_round_options,
    by_name,
    camera_option,
    import_round,
    recorded,
    round_folder,
    summary,
)
from data_collection.importing.robomimic_file import demonstrations, env_args, episode_id
from trainer.cli import run_command
from trainer.errors import DataError
from trainer.files import sha256_of


@dataclass(frozen=True)
class Wanted:
    """What is taken from the file.

    Attributes:
        control_hz: Actions a second; the file does not say it.
        keys: Vectors under ``obs``, joined in this order to the state; empty: all of them, sorted.
        cameras: Pictures under ``obs``, (T, H, W, 3) uint8, by the name that the camera gets.
        filter_key: Which of the lists under ``mask`` says what demonstrations to take; None: all.
    """

    control_hz: float
    keys: tuple[str, ...] = ()
    cameras: Mapping[str, str] = field(default_factory=dict)
    filter_key: str | None = None


def import_demonstrations(data: Path, wanted: Wanted, folder: Path) -> SealedRound:
    """Return the sealed round in ``folder``: written now, gone on with, or found finished.

    An episode is a success if its last reward is positive, or one where it is done.

    Raises:
        DataError: The file is missing, of another layout, or has not what is wanted, or ``folder``
            holds another round.
    """
    if not data.is_file() or not h5py.is_hdf5(data):
        raise DataError(f"{data} is not " + ("an HDF5 file" if data.is_file() else "there"))
    try:
        with h5py.File(data, "r") as file:
            demos = demonstrations(file, wanted.filter_key)
            keys = wanted.keys or demos[0].vectors()
            if not keys:
                raise DataError(f"{demos[0]}: there is no vector in obs to make the state of")
            shapes = demos[0].shapes(keys, wanted.cameras)
            for demo in demos[1:]:  # all are looked at before one is written
                if (found := demo.shapes(keys, wanted.cameras)) != shapes:
                    raise DataError(f"{demo}: sizes {found}, but those of {demos[0]} are {shapes}")
            config = {
                "source": {
                    "format": "robomimic",
                    "file": data.name,
                    "sha256": sha256_of(data),
                    "filter_key": wanted.filter_key,
                    "keys": list(keys),
                    "cameras": dict(wanted.cameras),
                    "env_args": env_args(file),
                },
                "recorded": recorded(wanted.control_hz, shapes),
            }
            episodes = {
                episode_id(demo.name): functools.partial(demo.read, keys, wanted.cameras)
                for demo in demos
            }
            return import_round(folder, config, episodes)
    except OSError as error:
        raise DataError(f"{data} cannot be read whole: {error}") from error


def main(arguments: Sequence[str]) -> int:
    """Import from the command line and return the exit code."""
    args = _parser().parse_args(arguments)
    wanted = Wanted(args.control_hz, tuple(args.keys), by_name(args.cameras), args.filter_key)
    sealed = import_demonstrations(args.file, wanted, round_folder(args))
    sys.stdout.write(summary(sealed))
    return 0


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_collection.import_robomimic",
        description="Turn demonstrations in robomimic's HDF5 layout into a sealed round.",
        epilog="example: python -m data_collection.import_robomimic can.hdf5 --save_dir data/can "
        "--keys robot0_eef_pos object --cameras head=agentview_image --control_hz 20",
    )
    parser.add_argument("file", type=Path, help="the HDF5 file, with observations")
    add_round_options(parser)
    parser.add_argument(
        "--control_hz", type=_rate, required=True, help="actions a second (robosuite: 20)"
    )
    parser.add_argument(
        "--keys", nargs="+", default=[], metavar="KEY",
        help="vectors of obs that make the state, in this order (default: all, sorted)",
    )  # fmt: skip
    parser.add_argument(
        "--cameras", nargs="+", type=camera_option(lambda key: key.removesuffix("_image")),
        default=[], metavar="[NAME=]KEY",
        help="pictures of obs (T, H, W, 3) uint8 (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--filter_key", metavar="NAME", help="take the demonstrations that mask/NAME lists"
    )
    return parser


if __name__ == "__main__":
    run_command(main, resumes=True)
