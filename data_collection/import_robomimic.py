"""Turns demonstrations in robomimic's HDF5 layout into a sealed round.

python -m data_collection.import_robomimic can.hdf5 --save_dir data/can --control_hz 20 \
    --keys robot0_eef_pos robot0_eef_quat robot0_gripper_qpos object --cameras agentview_image
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
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
    ACTION_VALID,
    ACTOR,
    EXECUTED_ACTION,
    EXPERT,
    IMAGE_PREFIX,
    REWARD,
    STATE,
    TERMINATED,
    TRUNCATED,
)
from trainer.cli import nonnegative, run_command
from trainer.errors import ConfigError, DataError, nearest
from trainer.files import sha256_of

PHASE = "imported"
_NUMBERED = re.compile(r"(.+)_(\d+)")


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
            demos = _demonstrations(file, wanted.filter_key)
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
                    "env_args": _env_args(file),
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


@dataclass(frozen=True)
class _Demo:
    """A demonstration in the open file."""

    group: h5py.Group
    name: str

    def __str__(self) -> str:
        return f"{self.group.file.filename}: {self.name}"

    def vectors(self) -> tuple[str, ...]:
        """Return the names of all vectors that were observed, sorted."""
        return tuple(sorted(k for k, data in self._observed().items() if _is_vector(data)))

    def shapes(self, keys: Sequence[str], cameras: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
        """Return the shape of one step of everything that is taken.

        Raises:
            DataError: Something is not there, of another kind, or of another length.
        """
        observed = self._observed()
        taken = {name: self._column(name) for name in ("actions", "rewards", "dones")}
        for key in (*keys, *cameras.values()):
            if key not in observed:
                known = sorted(observed)
                raise DataError(
                    f"{self}: no obs/{key}{nearest(key, known)}; there are {', '.join(known)}"
                )
            taken[f"obs/{key}"] = observed[key]
        lengths = {name: len(data) if data.ndim else 0 for name, data in taken.items()}
        if len(set(lengths.values())) > 1 or not lengths["actions"]:
            found = ", ".join(f"{length} {name}" for name, length in lengths.items())
            raise DataError(f"{self}: expected as many rows of each, and some: {found}")
        for key in keys:
            if not _is_vector(observed[key]):
                raise DataError(f"{self}: obs/{key} is {_kind(observed[key])}, expected a vector")
        for key in cameras.values():
            data = observed[key]
            if data.dtype != np.uint8 or data.ndim != 4 or data.shape[3] != 3:
                raise DataError(f"{self}: obs/{key} is {_kind(data)}, expected uint8 (T, H, W, 3)")
        state = sum(int(np.prod(observed[key].shape[1:])) for key in keys)
        pictures = {camera: observed[key].shape[1:3] for camera, key in cameras.items()}
        return {STATE: (state,), ACTION: taken["actions"].shape[1:]} | {
            IMAGE_PREFIX + camera: (3, *size) for camera, size in pictures.items()
        }

    def read(
        self, keys: Sequence[str], cameras: Mapping[str, str]
    ) -> tuple[dict[str, np.ndarray], bool]:
        """Return the episode's arrays, one row a step, and whether it is a success."""
        observed = self._observed()
        actions = self._column("actions")[()].astype(np.float32)
        rewards = self._column("rewards")[()].astype(np.float32).reshape(-1)
        done = self._column("dones")[()].reshape(-1) > 0
        steps = len(actions)
        is_last = np.arange(steps) == steps - 1
        arrays = {
            STATE: np.concatenate(
                [observed[key][()].reshape(steps, -1).astype(np.float32) for key in keys], axis=1
            ),
            ACTION: actions,
            ACTION_VALID: np.ones(steps, dtype=bool),
            EXECUTED_ACTION: actions,
            ACTOR: np.full(steps, EXPERT, dtype=np.uint8),
            REWARD: rewards,
            TERMINATED: is_last & done,
            TRUNCATED: is_last & ~done,
        }
        for camera, key in cameras.items():
            pictures = observed[key][()].transpose(0, 3, 1, 2)
            arrays[IMAGE_PREFIX + camera] = np.ascontiguousarray(pictures)
        return arrays, bool((rewards[done | is_last] > 0).any())

    def _observed(self) -> dict[str, h5py.Dataset]:
        group = self.group.get("obs")
        if not isinstance(group, h5py.Group):
            raise DataError(
                f"{self}: no group obs (there are {', '.join(self.group)}); robomimic's "
                "dataset_states_to_obs.py adds it"
            )
        return {key: data for key, data in group.items() if isinstance(data, h5py.Dataset)}

    def _column(self, name: str) -> h5py.Dataset:
        data = self.group.get(name)
        if not isinstance(data, h5py.Dataset):
            raise DataError(f"{self}: no {name}; there are {', '.join(self.group)}")
        if data.dtype.kind not in "fiub" or (name == "actions" and data.ndim != 2):
            expected = "numbers (T, A)" if name == "actions" else "numbers (T,)"
            raise DataError(f"{self}: {name} is {_kind(data)}, expected {expected}")
        return data


def _demonstrations(file: h5py.File, filter_key: str | None) -> list[_Demo]:
    """Return those of the filter, or all, in the order of their numbers."""
    groups = file.get("data")
    if not isinstance(groups, h5py.Group) or not len(groups):
        raise DataError(
            f"{file.filename}: expected robomimic's layout, data/demo_0 and so on; "
            f"it has {', '.join(file) or 'nothing'}"
        )
    names = list(groups)
    if filter_key is not None:
        masks = file.get("mask")
        known = sorted(masks) if isinstance(masks, h5py.Group) else []
        listed = masks.get(filter_key) if isinstance(masks, h5py.Group) else None
        if not isinstance(listed, h5py.Dataset):
            raise DataError(
                f"{file.filename}: no filter key {filter_key!r}{nearest(filter_key, known)}; "
                f"there are {', '.join(known) or 'none'}"
            )
        names = [each.decode() if isinstance(each, bytes) else str(each) for each in listed[()]]
        if missing := sorted(set(names) - set(groups)):
            raise DataError(f"{file.filename}: mask/{filter_key} names {missing[0]}, not in data")
    if not names:
        raise DataError(f"{file.filename}: mask/{filter_key} names no demonstration")
    found = {name: groups[name] for name in sorted(set(names), key=_episode_id)}
    if len({_episode_id(name) for name in found}) < len(found):
        raise DataError(f"{file.filename}: two demonstrations have the same number")
    if wrong := [name for name, group in found.items() if not isinstance(group, h5py.Group)]:
        raise DataError(f"{file.filename}: data/{wrong[0]} is no group")
    return [_Demo(group, name) for name, group in found.items() if isinstance(group, h5py.Group)]


def _write(
    folder: Path,
    config_yaml: str,
    demos: Sequence[_Demo],
    keys: Sequence[str],
    cameras: Mapping[str, str],
) -> None:
    writer = RoundWriter(folder, config_yaml)
    writer.adopt()  # what a killed import left
    for number, demo in enumerate(demos):
        rollout_id = _episode_id(demo.name)
        if rollout_id not in writer.records:
            arrays, success = demo.read(keys, cameras)
            attributes = EpisodeAttributes(seed=number, success=success, phase=PHASE)
            writer.enter(write_episode(folder, rollout_id, arrays, attributes))
    seal(folder)


def _episode_id(name: str) -> str:
    """Return a name that sorts by the number in it: ``demo_000012``."""
    match = _NUMBERED.fullmatch(name)
    return f"{match[1]}_{int(match[2]):06d}" if match else name


def _is_vector(data: h5py.Dataset) -> bool:
    return data.ndim in (1, 2) and data.dtype.kind in "fiub"


def _kind(data: h5py.Dataset) -> str:
    return f"{data.dtype} {data.shape}"


def _env_args(file: h5py.File) -> object:
    """Return what the file says about the simulator that it comes from, None where nothing."""
    text = file["data"].attrs.get("env_args")
    try:
        return None if text is None else json.loads(text)
    except (TypeError, ValueError):
        return str(text)


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
    run_command(main)
