"""What the importers of other libraries' demonstrations share: how these become a sealed round."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

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
    REWARD,
    STATE,
    TERMINATED,
    TRUNCATED,
)
from trainer.cli import nonnegative
from trainer.errors import ConfigError, DataError
from trainer.files import locked_folder
from trainer.yaml_file import from_yaml, to_yaml

PHASE = "imported"

ReadEpisode = Callable[[], tuple[dict[str, np.ndarray], bool]]
"""Returns an episode's arrays, one row a step, and whether it is a success."""


def demonstrated(
    state: np.ndarray, action: np.ndarray, reward: np.ndarray, *, terminated: bool
) -> dict[str, np.ndarray]:
    """Return the arrays of an episode in which the expert acted; its action is the label.

    Args:
        state: (T, S) float32.
        action: (T, A) float32.
        reward: (T,) float32.
        terminated: Whether it was over after the last step; else it was cut off there.
    """
    steps = len(state)
    is_last = np.arange(steps) == steps - 1
    return {
        STATE: state,
        ACTION: action,
        ACTION_VALID: np.ones(steps, dtype=bool),
        EXECUTED_ACTION: action,
        ACTOR: np.full(steps, EXPERT, dtype=np.uint8),
        REWARD: reward,
        TERMINATED: is_last & terminated,
        TRUNCATED: is_last & (not terminated),
    }


def recorded(control_hz: float, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, object]:
    """Return the section ``recorded`` of a round's configuration, from shapes of one step."""
    return {
        "control_hz": float(control_hz),
        "action": shapes[ACTION][0],
        "observations": {key: list(shape) for key, shape in shapes.items() if key != ACTION},
    }


def import_round(
    folder: Path, config: Mapping[str, object], episodes: Mapping[str, ReadEpisode]
) -> SealedRound:
    """Return the sealed round in ``folder``: written now, gone on with, or found finished.

    Args:
        folder: The round's.
        config: What decides the round.
        episodes: By id; what there is already is not read again.

    Raises:
        ConfigError: Another process imports into ``folder``.
        DataError: ``folder`` holds another round, or an episode is not what the format allows.
    """
    config_yaml = to_yaml(config)
    taken = f"another process imports into {folder}; wait for it, or choose another --round"
    try:
        if not is_sealed(folder) or (folder / "config.yaml").read_text() != config_yaml:
            with locked_folder(folder, taken):
                _write(RoundWriter(folder, config_yaml), episodes)
        return open_round(folder)
    except EpisodeError as error:
        raise DataError(str(error)) from error


def _write(writer: RoundWriter, episodes: Mapping[str, ReadEpisode]) -> None:
    seeds = {rollout_id: number for number, rollout_id in enumerate(episodes)}
    writer.adopt(seeds)  # what a killed import left
    for rollout_id, read in episodes.items():
        if rollout_id not in writer.records:
            arrays, success = read()
            attributes = EpisodeAttributes(seed=seeds[rollout_id], success=success, phase=PHASE)
            writer.enter(write_episode(writer.folder, rollout_id, arrays, attributes))
    seal(writer.folder)


def summary(sealed: SealedRound) -> str:
    """Return what an import says at its end; the last line are the options for training."""
    records = sealed.manifest.values()
    successes = sum(record.attributes.success for record in records)
    config = from_yaml(sealed.config_yaml)
    sizes = {
        "state": config["recorded"]["observations"][STATE][0],
        "action": config["recorded"]["action"],
        "control_hz": f"{config['recorded']['control_hz']:g}",
    }
    options = " ".join(f"--set interface.{name}={size}" for name, size in sizes.items())
    return (
        f"{sealed.folder}: {len(records)} episodes, {successes} of them successes\n"
        f"observation.state is {', '.join(config['source']['keys'])}\n{options}\n"
    )


def add_round_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which round is written."""
    parser.add_argument(
        "--save_dir", type=Path, required=True, help="the round becomes round_NNN in this folder"
    )
    parser.add_argument("--round", type=nonnegative, default=0, help="its number (default: 0)")


def round_folder(args: argparse.Namespace) -> Path:
    """Return the folder that these options name."""
    return args.save_dir / f"round_{args.round:03d}"


def camera_option(shorten: Callable[[str], str]) -> Callable[[str], tuple[str, str]]:
    """Return the argparse type of ``name=key``, or of a key alone, which ``shorten`` names."""

    def camera(text: str) -> tuple[str, str]:
        name, _, key = text.rpartition("=")
        name = name or shorten(key)
        if not re.fullmatch(r"\w+", name, re.ASCII):
            raise argparse.ArgumentTypeError(f"expected NAME=KEY with a plain NAME, got {text!r}")
        return name, key

    return camera


def by_name(cameras: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the keys of ``--cameras`` by name; raise ConfigError when two have the same."""
    if len(dict(cameras)) < len(cameras):
        raise ConfigError(f"--cameras: one name for two: {', '.join(name for name, _ in cameras)}")
    return dict(cameras)
