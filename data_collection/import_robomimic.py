"""Turns demonstrations in robomimic's HDF5 layout into a sealed round.

python -m data_collection.import_robomimic can.hdf5 --save_dir data/can --control_hz 20 \
    --keys robot0_eef_pos robot0_eef_quat robot0_gripper_qpos object --cameras agentview_image
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import yaml

from data_collection.episodes import (
    EpisodeAttributes,
    EpisodeError,
    RoundWriter,
    SealedRound,
    is_sealed,
    open_round,
    seal,
    write_episode,
)
from data_collection.episodes.schema import (
    ACTION,
    STATE,
)
from data_collection.robomimic_file import Demonstration, demonstrations, env_args, episode_id
from trainer.cli import nonnegative, run_command
from trainer.errors import ConfigError, DataError
from trainer.files import sha256_of

PHASE = "imported"


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
                "recorded": {
                    "control_hz": float(wanted.control_hz),
                    "action": shapes.pop(ACTION)[0],
                    "observations": {key: list(shape) for key, shape in shapes.items()},
                },
            }
            config_yaml = yaml.safe_dump(config, sort_keys=False)
            if not is_sealed(folder) or (folder / "config.yaml").read_text() != config_yaml:
                _write(folder, config_yaml, demos, keys, wanted.cameras)
        return open_round(folder)
    except EpisodeError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"{data} cannot be read whole: {error}") from error


def _write(
    folder: Path,
    config_yaml: str,
    demos: Sequence[Demonstration],
    keys: Sequence[str],
    cameras: Mapping[str, str],
) -> None:
    writer = RoundWriter(folder, config_yaml)
    writer.adopt()  # what a killed import left
    for number, demo in enumerate(demos):
        rollout_id = episode_id(demo.name)
        if rollout_id not in writer.records:
            arrays, success = demo.read(keys, cameras)
            attributes = EpisodeAttributes(seed=number, success=success, phase=PHASE)
            writer.enter(write_episode(folder, rollout_id, arrays, attributes))
    seal(folder)


def main(arguments: Sequence[str]) -> int:
    """Import from the command line and return the exit code."""
    args = _parser().parse_args(arguments)
    if len(dict(args.cameras)) < len(args.cameras):
        raise ConfigError(f"--cameras: one name for two: {', '.join(n for n, _ in args.cameras)}")
    wanted = Wanted(args.control_hz, tuple(args.keys), dict(args.cameras), args.filter_key)
    sealed = import_demonstrations(args.file, wanted, args.save_dir / f"round_{args.round:03d}")
    records = sealed.manifest.values()
    successes = sum(record.attributes.success for record in records)
    recorded = yaml.safe_load(sealed.config_yaml)
    keys = recorded["source"]["keys"]
    sizes = {
        "state": recorded["recorded"]["observations"][STATE][0],
        "action": recorded["recorded"]["action"],
        "control_hz": f"{args.control_hz:g}",
    }
    options = " ".join(f"--set interface.{name}={size}" for name, size in sizes.items())
    sys.stdout.write(
        f"{sealed.folder}: {len(records)} episodes, {successes} of them successes\n"
        f"observation.state is {', '.join(keys)}\n{options}\n"
    )
    return 0


def _camera(text: str) -> tuple[str, str]:
    """Return name and key of ``name=key``, or of a key, whose ``_image`` the name does without."""
    name, _, key = text.rpartition("=")
    name = name or key.removesuffix("_image")
    if not re.fullmatch(r"\w+", name, re.ASCII):
        raise argparse.ArgumentTypeError(f"expected NAME=KEY with a plain NAME, got {text!r}")
    return name, key


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
    parser.add_argument(
        "--save_dir", type=Path, required=True, help="the round becomes round_NNN in this folder"
    )
    parser.add_argument("--round", type=nonnegative, default=0, help="its number (default: 0)")
    parser.add_argument(
        "--control_hz", type=_rate, required=True, help="actions a second (robosuite: 20)"
    )
    parser.add_argument(
        "--keys", nargs="+", default=[], metavar="KEY",
        help="vectors of obs that make the state, in this order (default: all, sorted)",
    )  # fmt: skip
    parser.add_argument(
        "--cameras", nargs="+", type=_camera, default=[], metavar="[NAME=]KEY",
        help="pictures of obs (T, H, W, 3) uint8 (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--filter_key", metavar="NAME", help="take the demonstrations that mask/NAME lists"
    )
    return parser


if __name__ == "__main__":
    run_command(main, resumes=True)
