"""Plays a recorded episode again and says whether every bit of it comes out the same.

python -m data_collection.replay data/pick_place/exp1/round_000/episodes/000_000003.h5
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_collection.cast import Cast
from data_collection.episode_buffer import EpisodeArrays
from data_collection.episodes import EpisodeAttributes, EpisodeError, EpisodeRecord, open_round
from data_collection.episodes.codec import content_sha256
from data_collection.player import CHECKPOINTS, described
from data_collection.schema import RoundConfig
from trainer.cli import run_command
from trainer.config import Loaded, config_differences, load_config
from trainer.errors import ConfigError, DataError
from trainer.rollout import RolloutJob

DIFFERENT_EXIT = 1


@dataclass(frozen=True)
class Replay:
    """A recorded episode and the same job, played again."""

    record: EpisodeRecord
    content_sha256: str
    difference: str | None
    """Where the two part, None when they are equal."""

    @property
    def is_identical(self) -> bool:
        """Whether every bit is the same."""
        return self.content_sha256 == self.record.content_sha256


def replay(episode: Path, root: Path | None = None) -> Replay:
    """Return what comes of playing the job of a recorded episode again.

    Args:
        episode: ``<round>/episodes/<id>.h5``; a packed round needs no such file any more.
        root: The project root, the current folder by default.

    Raises:
        DataError: There is no such episode in a sealed round.
        ConfigError: The round was not collected by this project, or its environment or teacher
            cannot be built as they were.
    """
    folder = episode.absolute().parent.parent
    try:
        sealed = open_round(folder)
        if episode.stem not in sealed.ids:
            raise DataError(f"{folder}: no episode {episode.stem!r}; the first is {sealed.ids[0]}")
        recorded = sealed.read_episode(sealed.ids.index(episode.stem))
        record = sealed.manifest[episode.stem]
    except EpisodeError as error:
        raise DataError(str(error)) from error
    job = RolloutJob(record.id, record.attributes.seed)
    attributes, again = play_again(_config(folder, root), job)
    difference = _other_weights(record.attributes, attributes) or _difference(recorded, again)
    return Replay(record, content_sha256(again), difference)


def play_again(
    loaded: Loaded[RoundConfig], job: RolloutJob
) -> tuple[EpisodeAttributes, EpisodeArrays]:
    """Return attributes and arrays of one job of a round, played in this process.

    Raises:
        ConfigError: The environment here is another than the recorded one, or cannot be built.
    """
    cast = Cast(loaded, slots=1)
    now = described(cast.environments[0])
    differences = config_differences(loaded.config.recorded, now, ignore=[CHECKPOINTS])
    if differences:
        lines = "\n  ".join(differences)
        raise ConfigError(
            f"{loaded.at('recorded')}: the environment is another one here:\n  {lines}"
        )
    played: list[tuple[EpisodeAttributes, EpisodeArrays]] = []
    cast.play([job], lambda result, arrays: played.append((cast.attributes(result), arrays)))
    cast.close()
    return played[0]


def _config(folder: Path, root: Path | None) -> Loaded[RoundConfig]:
    path = folder / "config.yaml"
    save_dir = str(folder.parent)  # no part of what a round is, hence not in its configuration
    try:
        loaded = load_config(path, RoundConfig, implicit={"save_dir": save_dir})
    except ConfigError as error:
        raise ConfigError(
            f"{path}: only rounds that data_collection.collect has made can be replayed:\n{error}"
        ) from error
    return loaded if root is None else Loaded(loaded.config, loaded.resolved, root, loaded.marks)


def _other_weights(recorded: EpisodeAttributes, now: EpisodeAttributes) -> str | None:
    """Return whose weights are not the recorded ones, None when nobody's are."""
    for name in ("teacher_checkpoint", "student_checkpoint", "driver_checkpoint"):
        before, after = getattr(recorded, name), getattr(now, name)
        if before is not None and before != after:
            return f"{name}: {before} recorded, {after} now"
    return None


def _difference(recorded: EpisodeArrays, again: EpisodeArrays) -> str | None:
    """Return where two episodes first differ, None when they are the same."""
    if recorded.keys() != again.keys():
        return f"keys: {sorted(recorded)} recorded, {sorted(again)} now"
    for key, before in recorded.items():
        now = again[key]
        if (before.dtype, before.shape) != (now.dtype, now.shape):
            return f"{key}: {before.dtype} {before.shape} recorded, {now.dtype} {now.shape} now"
        rows = [
            i for i, (a, b) in enumerate(zip(before, now, strict=True)) if not np.array_equal(a, b)
        ]
        if rows:
            return f"{key}: {len(rows)} of {len(now)} rows differ, the first is {rows[0]}"
    return None


def main(arguments: Sequence[str]) -> int:
    """Return 0 when the episode comes out bit-identical, else 1."""
    args = _parser().parse_args(arguments)
    result = replay(args.episode)
    record = result.record
    if result.is_identical:
        sys.stdout.write(
            f"{record.id}: bit-identical, {record.length} steps, {record.content_sha256}\n"
        )
        return 0
    sys.stdout.write(
        f"{record.id}: DIFFERENT: {result.difference}\n"
        f"  recorded {record.content_sha256}\n  now      {result.content_sha256}\n"
    )
    return DIFFERENT_EXIT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_collection.replay",
        description="Play a recorded episode again; exit code 0 when every bit is the same, 1 "
        "when not. Run it from the project root.",
        epilog="example: python -m data_collection.replay "
        "data/pick_place/exp1/round_000/episodes/000_000003.h5",
    )
    parser.add_argument("episode", type=Path, help="<round>/episodes/<id>.h5")
    return parser


if __name__ == "__main__":
    run_command(main)
