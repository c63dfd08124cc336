"""Collecting a DAgger round: this project, the library ``imitation``, and the bare simulator.

benchmarks/peers/install.sh
python benchmarks/dagger_round.py [--expert FILE] [--json FILE] [--quick] [--only WORDS]
    [--without-peers]

HalfCheetah, 1,000 steps a rollout: the student drives, the expert labels every state, all is on the
disk at the end. This project makes 1,000 rollouts, imitation 64, for its rate is the same from the
first. Both have the same expert, as the same arithmetic in numpy, and a student of three layers of
256 that was trained by themselves on what the expert showed them in round 0.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from common import Row, alternate, median, parser, report, versions
from contestants import PEERS, Contestant, peer_versions
from course_expert import write_arrays, write_random_expert
from dagger_task import WORKERS, DaggerTask
from process_memory import PeakMemory

SCRIPTS = {"project": "project_dagger.py", "imitation": "peers/imitation_dagger.py"}
FIGURES = (
    ("start s", "start_s", 2),
    ("disk B/step", "disk_bytes_per_step", 1),
    ("disk / arrays", "disk_per_array_byte", 3),
    ("peak MB", "peak_mb", 1),
    ("collecting grows B/step", "collecting_growth", 1),
    ("training grows B/step", "training_growth", 1),
)
"""Columns of a round, where their figures are, and the digits to keep."""


@dataclass(frozen=True)
class Entry:
    """One line of the table: who does what, with how many environments."""

    name: str
    library: str
    environments: int = 64
    stepping: Literal["serial", "processes"] = "serial"
    does: Literal["collect", "bare", "networks"] = "collect"

    @property
    def python(self) -> Path:
        """Return the interpreter of its environment."""
        if self.library == "project":
            return Path(sys.executable)
        return PEERS / self.library / "bin" / "python"


BARE = f"bare stepping, {WORKERS} processes"
ENTRIES = (
    Entry(f"project, {WORKERS} workers", "project"),
    Entry("imitation, 1 environment", "imitation", environments=1),
    Entry("imitation, 8 environments", "imitation", environments=8),
    Entry("imitation, 32 environments", "imitation", environments=32),
    Entry("imitation, 8 processes", "imitation", environments=8, stepping="processes"),
    Entry(f"stepping and both networks, {WORKERS} processes", "project", does="networks"),
    Entry(BARE, "project", does="bare"),
)


@dataclass(frozen=True)
class Budget:
    """How much is done."""

    rollouts: int = 1000
    peer_rollouts: int = 64
    first_rollouts: int = 8
    train_steps: int = 300
    rounds: int = 3
    """In which memory is watched."""
    runs: int = 3


QUICK = Budget(rollouts=2, peer_rollouts=2, first_rollouts=2, train_steps=2, rounds=2, runs=1)


def main(arguments: Sequence[str]) -> None:
    """Measure and report."""
    options = parser("Collecting a DAgger round, against the library imitation.")
    options.add_argument("--without-peers", action="store_true", help="measure this project alone")
    options.add_argument(
        "--expert", type=Path, metavar="FILE", help="the course's HalfCheetah.pkl (default: random)"
    )
    args = options.parse_args(arguments)
    budget = QUICK if args.quick else Budget()
    entries = [
        entry
        for entry in ENTRIES
        if args.only in entry.name
        and (entry.library == "project" or not args.without_peers)
        and _installed(entry)
    ]
    with tempfile.TemporaryDirectory() as folder:
        rows = Measuring(Path(folder), args.expert, budget).rows(entries)
    report(rows, versions("torch", "numpy", "mujoco", "gymnasium") | peer_versions(), args.json)


class Measuring:
    """Measures entries in a folder.

    Args:
        folder: For experts, rounds and checkpoints.
        expert: A course expert; None makes one with random weights.
        budget: How much is done.
    """

    def __init__(self, folder: Path, expert: Path | None, budget: Budget) -> None:
        self._folder = folder
        self._budget = budget
        self._expert = expert.resolve() if expert else write_random_expert(folder / "expert.pkl")
        self._network = write_arrays(self._expert, folder / "network.npz")

    def rows(self, entries: Sequence[Entry]) -> list[Row]:
        """Return one row an entry; rates are medians over the turns."""
        memory = {each: self._memory(each) for each in entries if each.does == "collect"}
        answers: dict[Entry, dict[str, float]] = {}
        with ExitStack() as stack:
            running = {each: stack.enter_context(self._start(each, "speed")) for each in entries}
            _check_labels(list(running.values()))
            for contestant in running.values():
                _first_round(contestant)

            def rate(entry: Entry) -> float:
                answers[entry] = running[entry].ask(entry.does)
                return answers[entry]["steps_per_s"]

            rates = alternate({each: partial(rate, each) for each in entries}, self._budget.runs)
        return _table(rates, {each: answers[each] | memory.get(each, {}) for each in entries})

    def _memory(self, entry: Entry) -> dict[str, float]:
        """Return the peak while a round is collected, and by how much peaks rise with rounds."""
        peaks_mb: dict[str, list[float]] = {"collect": [], "train": []}
        steps = 0.0
        with self._start(entry, "memory") as contestant:
            _first_round(contestant)
            for _ in range(self._budget.rounds):
                for question, mb in peaks_mb.items():
                    with PeakMemory(contestant.pid) as peak:
                        steps = contestant.ask(question).get("steps", steps)
                    mb.append(peak.mb)

        def growth(mb: Sequence[float]) -> float:
            return (mb[-1] - mb[0]) / (len(mb) - 1) * 2**20 / steps

        return {
            "peak_mb": peaks_mb["collect"][-1],
            "collecting_growth": growth(peaks_mb["collect"]),
            "training_growth": growth(peaks_mb["train"]),
        }

    def _start(self, entry: Entry, purpose: str) -> Contestant:
        folder = self._folder / purpose / entry.name.replace(" ", "_")
        folder.mkdir(parents=True)
        ours = entry.library == "project"
        task = DaggerTask(
            folder=str(folder),
            expert=str(self._expert),
            network=str(self._network),
            environments=entry.environments,
            stepping=entry.stepping,
            first_rollouts=self._budget.first_rollouts,
            rollouts=self._budget.rollouts if ours else self._budget.peer_rollouts,
            train_steps=self._budget.train_steps,
        )
        return Contestant(entry.python, SCRIPTS[entry.library], task)


def _check_labels(contestants: Sequence[Contestant]) -> None:
    """Raise unless the experts of all contestants are one and the same."""
    labels = [contestant.ask("label", 0.1)["sum"] for contestant in contestants]
    if not np.allclose(labels, labels[0], rtol=1e-5):
        raise SystemExit(f"the experts differ: the sums of their actions are {labels}")


def _first_round(contestant: Contestant) -> None:
    """Have the expert drive, and the student trained that drives from then on."""
    contestant.ask("collect")
    contestant.ask("train")


def _table(
    rates: Mapping[Entry, Sequence[float]], figures: Mapping[Entry, Mapping[str, float]]
) -> list[Row]:
    """Return the rows; who only steps has no figures of a round."""
    bare = next((runs for entry, runs in rates.items() if entry.does == "bare"), None)
    peers = [median(runs) for entry, runs in rates.items() if entry.library != "project"]
    rows: list[Row] = []
    for entry, runs in rates.items():
        found, rate = figures[entry], median(runs)
        row: Row = {"name": entry.name, "steps/s": round(rate, 1)}
        if "rollouts" in found:
            row["rollouts/s"] = round(rate * found["rollouts"] / found["steps"], 3)
        for column, name, digits in FIGURES:
            row[column] = round(found[name], digits) if name in found else None
        if bare:
            row["of bare"] = round(median(np.divide(runs, bare).tolist()), 4)
        if peers and entry.does == "collect":
            row["of best peer"] = round(rate / max(peers), 3)
        rows.append(row)
    return rows


def _installed(entry: Entry) -> bool:
    if not entry.python.exists():
        sys.stderr.write(f"{entry.name} is left out: benchmarks/peers/install.sh installs it\n")
    return entry.python.exists()


if __name__ == "__main__":
    main(sys.argv[1:])
