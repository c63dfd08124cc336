"""What the benchmarks share: alternating measurements, tables, JSON files, versions."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[1]

K = TypeVar("K")

Row = dict[str, str | float | None]
"""One line of a table; it has a ``name``."""


def parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of the options that every benchmark has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options.add_argument("--quick", action="store_true", help="a tiny budget: check, not measure")
    options.add_argument(
        "--only", default="", metavar="WORDS", help="only what has them in its name"
    )
    return options


def alternate(contestants: Mapping[K, Callable[[], float]], runs: int) -> dict[K, list[float]]:
    """Return the figures of ``runs`` calls of each contestant, called in turn.

    Whatever slows the machine for a while then slows all of them.
    """
    figures: dict[K, list[float]] = {name: [] for name in contestants}
    for _ in range(runs):
        for name, measure in contestants.items():
            figures[name].append(measure())
    return figures


def median(figures: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(figures)


def run_logged(command: Sequence[str | Path], settings: Mapping[str, object], log: Path) -> None:
    """Run a script of the project on one thread, its output added to ``log``.

    Args:
        command: The script and its arguments.
        settings: Values to override, each with ``--set``.
        log: Where its output goes.

    Raises:
        SystemExit: It failed; the message names the log, which says why.
    """
    overrides = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        done = subprocess.run(
            [sys.executable, *command, *overrides], stdout=output, stderr=output, env=environment
        )
    if done.returncode:
        name = Path(command[0]).name
        raise SystemExit(f"{name} ended with exit code {done.returncode}; {log} says why")


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def report(rows: Sequence[Row], used: Mapping[str, str], json_file: Path | None) -> None:
    """Write the rows as a table to the standard output and, if asked for, as JSON to a file.

    The file holds ``{"results": rows, "versions": …, "machine": …}``.
    """
    machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} CPUs"
    sys.stdout.write(table(rows))
    sys.stdout.write(", ".join(f"{name} {number}" for name, number in used.items()))
    sys.stdout.write(f"; {machine}\n")
    if json_file is not None:
        content = {"results": list(rows), "versions": dict(used), "machine": machine}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(content, indent=1) + "\n")


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table; columns stand in the order of their first use."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, *([_shown(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    lines.insert(1, ["-" * width for width in widths])
    padded = [
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in padded)


def _shown(value: str | float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
