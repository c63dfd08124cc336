"""On-line distillation: this project, and RSL-RL's Distillation.

benchmarks/peers/install.sh rsl-rl-lib
python benchmarks/distillation.py [--json FILE] [--quick] [--only WORDS] [--without-peers]

A toy environment, 100 at once, 24 steps an iteration; student and teacher are networks of 256, 128
and 64 with their normalisers, random weights; one thread. After each iteration the optimizer takes
one step on all of it. Both log to TensorBoard after every iteration.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from common import Row, alternate, median, parser, report, versions
from contestants import PEERS, Contestant, ContestantError, peer_versions
from distillation_task import DistillationTask

PEER = "rsl-rl-lib"
SCRIPTS = {"project": "project_distillation.py", PEER: "peers/rsl_rl_distillation.py"}
MILLION = 1_000_000
FIGURES = {
    "steps/s": "steps_per_s",
    "collection/s": "collection_per_s",
    "learning/s": "learning_per_s",
    "steps/CPU s": "per_cpu_s",
}
"""Columns, and where their figures are."""


@dataclass(frozen=True)
class Entry:
    """One line of the table."""

    name: str
    library: str
    stored: int = 0
    does: str = "iterate"


SPEED = (
    Entry("project", "project"),
    Entry("project, aggregated, 1M transitions", "project", stored=MILLION),
    Entry("rsl_rl", PEER),
    Entry("the environment alone", "project", does="alone"),
)
LEARNT = (
    Entry("project, GRU, gradient_length 15", "project"),
    Entry("rsl_rl, GRU, gradient_length 15", PEER),
)


def main(arguments: Sequence[str]) -> None:
    """Measure and report."""
    options = parser("On-line distillation, against RSL-RL's.")
    options.add_argument("--without-peers", action="store_true", help="measure this project alone")
    args = options.parse_args(arguments)
    runs, iterations = (1, 2) if args.quick else (9, 40)
    stored = 10_000 if args.quick else MILLION
    here = (PEERS / PEER / "bin" / "python").exists() and not args.without_peers
    if not here:
        sys.stderr.write(f"{PEER} is left out: benchmarks/peers/install.sh {PEER} installs it\n")
    speed, learnt = (
        [e for e in entries if args.only in e.name and (here or e.library == "project")]
        for entries in (SPEED, LEARNT)
    )
    rows = [*measure_speed(speed, runs, iterations, stored), *measure_learnt(learnt)]
    report(rows, versions("torch", "tensordict") | peer_versions(), args.json)


def measure_speed(entries: Sequence[Entry], runs: int, iterations: int, stored: int) -> list[Row]:
    """Return steps a second of each entry, which take turns of so many iterations."""
    with ExitStack() as stack:
        running = {
            entry: stack.enter_context(
                started(entry, DistillationTask(folder_in(stack), stored=min(entry.stored, stored)))
            )
            for entry in entries
        }
        asks = {
            entry: (lambda e=entry, c=contestant: c.ask(e.does, iterations))
            for entry, contestant in running.items()
        }
        for ask in asks.values():
            ask()  # warm up
        answers: dict[Entry, list[dict[str, float]]] = {entry: [] for entry in entries}

        def noted(entry: Entry) -> float:
            answers[entry].append(asks[entry]())
            return answers[entry][-1]["steps_per_s"]

        alternate({entry: (lambda e=entry: noted(e)) for entry in entries}, runs)
    peer = next((answers[entry] for entry in entries if entry.library == PEER), None)
    rows: list[Row] = []
    for entry in entries:
        row: Row = {"name": entry.name}
        for column, figure in FIGURES.items():
            values = [answer[figure] for answer in answers[entry] if figure in answer]
            row[column] = round(median(values)) if values else None
        if peer and entry.does == "iterate":
            for column, figure in (("ratio", "steps_per_s"), ("CPU ratio", "per_cpu_s")):
                pairs = zip(answers[entry], peer, strict=True)
                ratios = [own[figure] / theirs[figure] for own, theirs in pairs]
                row[column] = round(median(ratios), 2)
        rows.append(row)
    return rows


def measure_learnt(entries: Sequence[Entry]) -> list[Row]:
    """Return which share of the samples each entry learns from, where 15 does not divide 24."""
    rows: list[Row] = []
    for entry in entries:
        with ExitStack() as stack:
            task = DistillationTask(folder_in(stack), gradient_length=15, recurrent=True)
            contestant = stack.enter_context(started(entry, task))
            rows.append({"name": entry.name, "learnt from": contestant.ask("learnt")["share"]})
    return rows


def started(entry: Entry, task: DistillationTask) -> Contestant:
    """Return the running contestant of an entry."""
    ours = entry.library == "project"
    python = Path(sys.executable) if ours else PEERS / entry.library / "bin" / "python"
    return Contestant(python, SCRIPTS[entry.library], task)


def folder_in(stack: ExitStack) -> str:
    """Return a folder that goes when the stack is left."""
    return stack.enter_context(tempfile.TemporaryDirectory())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ContestantError as error:
        sys.exit(str(error))
