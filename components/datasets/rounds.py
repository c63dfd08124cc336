"""Finds the rounds that an experiment names, and what they say about themselves."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from data_collection.episodes import (
    EpisodeError,
    SealedRound,
    Statistics,
    is_sealed,
    merge_all,
    open_round,
)
from data_collection.episodes.schema import ACTION, ACTION_VALID, STATE
from trainer.errors import DataError, MissingDataError
from trainer.interfaces import FeatureStatistics
from trainer.yaml_file import from_yaml

_log = logging.getLogger(__name__)

_ROUND_NAME = re.compile(r"round_(\d+)")


def open_rounds(root: Path, entries: Sequence[str]) -> list[SealedRound]:
    """Return the rounds in the order of ``entries``; a folder of rounds gives its sealed ones.

    Args:
        root: What relative entries start from.
        entries: Folders of rounds, or folders that hold ``round_NNN`` (taken by number).

    Raises:
        MissingDataError: An entry does not exist or holds no sealed round.
        DataError: A round is damaged, not sealed, or named twice.
    """
    if not entries:
        raise DataError("rounds: name at least one round or folder of rounds")
    folders: list[Path] = []
    for entry in entries:
        for folder in _expand(root / Path(entry).expanduser(), entry):
            if folder in folders:
                raise DataError(f"rounds: {entry!r} names {folder}, which is there already")
            folders.append(folder)
    try:
        return [open_round(folder) for folder in folders]
    except EpisodeError as error:
        raise DataError(str(error)) from error


def _expand(path: Path, entry: str) -> list[Path]:
    if not path.is_dir():
        raise MissingDataError(f"rounds: {entry!r}: no folder {path}; collect the data first")
    numbers = {
        int(match[1]): child
        for child in path.iterdir()
        if (match := _ROUND_NAME.fullmatch(child.name))
    }
    if not numbers:
        return [path]
    sealed = [numbers[n] for n in sorted(numbers) if is_sealed(numbers[n])]
    unfinished = ", ".join(str(n) for n in sorted(numbers) if not is_sealed(numbers[n]))
    if not sealed:
        raise MissingDataError(
            f"rounds: {entry!r}: no sealed round under {path} (unfinished: {unfinished}); "
            "finish collecting or importing first"
        )
    if unfinished:
        _log.info("%s: rounds that are not sealed are left out: %s", path, unfinished)
    return sealed


def merged_statistics(
    rounds: Sequence[SealedRound], kept_e: np.ndarray
) -> dict[str, FeatureStatistics]:
    """Return the exact statistics of state and valid actions over all rounds, merged in order.

    Args:
        rounds: Where the episodes lie.
        kept_e: (E,) bool: which episodes of all rounds count.

    Raises:
        DataError: A statistics file is damaged, there is no valid action, or a value is not finite.
    """
    bounds = np.cumsum([len(sealed.ids) for sealed in rounds])[:-1]
    try:
        parts = list(map(_statistics, rounds, np.split(kept_e, bounds)))
        merged = {key: merge_all([part[key] for part in parts]) for key in (STATE, ACTION)}
    except (EpisodeError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"damaged statistics.json of a round: {error!r}") from error
    return {key: _feature_statistics(key, value) for key, value in merged.items()}


def _statistics(sealed: SealedRound, kept_e: np.ndarray) -> Mapping[str, Statistics]:
    """Return the round's own statistics, or those of its kept episodes where some are not."""
    if kept_e.all():
        return sealed.statistics
    kept_t = np.repeat(kept_e, sealed.lengths)
    valid_t = kept_t & sealed.read_rows(ACTION_VALID)
    return {
        STATE: Statistics.of(sealed.read_rows(STATE)[kept_t]),
        ACTION: Statistics.of(sealed.read_rows(ACTION)[valid_t]),
    }


def _feature_statistics(key: str, merged: Statistics) -> FeatureStatistics:
    if merged.count == 0 or not np.isfinite([merged.mean, merged.m2]).all():
        raise DataError(f"the rounds hold no finite statistics of {key} (count {merged.count})")
    return FeatureStatistics(merged.count, merged.mean, merged.std, merged.min, merged.max)


def recorded_environment(rounds: Sequence[SealedRound]) -> Mapping[str, object] | None:
    """Return ``{type, params}`` of the newest round's environment, or None when none is recorded.

    Warns when another round was collected in an environment that differs in more than cameras.
    """
    recorded = [(sealed, _environment(sealed)) for sealed in rounds]
    newest = recorded[-1][1]
    for sealed, environment in recorded[:-1]:
        if _without_cameras(environment) != _without_cameras(newest):
            _log.warning(
                "%s was collected in %s, but the newest round %s in %s; the newest is taken",
                *(sealed.folder, environment, rounds[-1].folder, newest),
            )
    return newest


def recorded_tasks(rounds: Sequence[SealedRound]) -> dict[str, str]:
    """Return the folder of the first round of each task that the rounds' environments name."""
    tasks: dict[str, str] = {}
    for sealed in rounds:
        task = _task(_environment(sealed))
        if task is not None:
            tasks.setdefault(task, str(sealed.folder))
    return tasks


def round_config(sealed: SealedRound) -> Mapping[str, object]:
    """Return the configuration that a round was collected with, empty when there is none.

    Raises:
        DataError: It cannot be read.
    """
    try:
        config = from_yaml(sealed.config_yaml)
    except (EpisodeError, yaml.YAMLError) as error:
        raise DataError(f"{sealed.folder}: its config.yaml cannot be read: {error}") from error
    return config if isinstance(config, dict) else {}


def _environment(sealed: SealedRound) -> Mapping[str, object] | None:
    environment = round_config(sealed).get("environment")
    if environment is not None and not isinstance(environment, dict):
        raise DataError(f"{sealed.folder}/config.yaml: environment must be a mapping")
    return environment


def _task(environment: object) -> str | None:
    """Return the ``task`` or ``id`` of an environment, or of the one that it wraps."""
    params = environment.get("params") if isinstance(environment, Mapping) else None
    if not isinstance(params, Mapping):
        return None
    if "environment" in params:
        return _task(params["environment"])
    task = params.get("task", params.get("id"))
    return None if task is None else str(task)


def _without_cameras(environment: Mapping[str, object] | None) -> object:
    if environment is None:
        return None
    params = environment.get("params")
    plain = {k: v for k, v in params.items() if k != "cameras"} if isinstance(params, dict) else {}
    return environment.get("type"), plain
