"""Sweep files: JSON lines of dotted overrides, one run a line."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from trainer.config import as_overrides
from trainer.errors import ConfigError


def add_sweep_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--sweep`` and ``--index`` to a command."""
    parser.add_argument(
        "--sweep", type=Path, metavar="FILE", help="JSON lines of dotted overrides, one run a line"
    )
    parser.add_argument(
        "--index", type=int, metavar="I", help="run this line of the sweep alone, 0 being the first"
    )


def read_sweep(path: Path | None, index: int | None, folder_key: str) -> list[list[str]]:
    """Return the overrides of every run, as ``--set`` takes them.

    Args:
        path: The file; without one there is a single run, with no overrides.
        index: Return this run alone; 0 is the first. Empty lines do not count.
        folder_key: Says where a run's files go, such as ``save_dir``: every run has its own.

    Raises:
        ConfigError: A line is no object, or has no folder of its own; there is no run, or no such
            run.
    """
    if path is None:
        if index is not None:
            raise ConfigError("--index chooses a run of a sweep; it needs --sweep FILE")
        return [[]]
    if not path.is_file():
        raise ConfigError(f"--sweep: no file {path}; check the path")
    runs = _read_lines(path, folder_key)
    if not runs:
        raise ConfigError(f"--sweep: {path} holds no run; write a JSON object a line")
    if index is None:
        return runs
    if not 0 <= index < len(runs):
        raise ConfigError(f"--index {index}: {path} has the runs 0 to {len(runs) - 1}")
    return [runs[index]]


def _read_lines(path: Path, folder_key: str) -> list[list[str]]:
    runs: list[list[str]] = []
    folders: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--sweep: {path} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{path}:{number}: expected a JSON object a line: {error}") from error
        if not isinstance(values, dict) or folder_key not in values:
            raise ConfigError(
                f'{path}:{number}: expected an object of dotted overrides with a "{folder_key}", '
                f"so that runs do not share a folder, got {line.strip()}"
            )
        folder = os.path.normpath(Path(str(values[folder_key])).expanduser())
        first = folders.setdefault(folder, number)
        if first != number:
            raise ConfigError(f"{path}:{number}: its {folder_key} is that of line {first} already")
        runs.append(as_overrides(values))
    return runs
