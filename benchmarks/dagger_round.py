"""Collecting a DAgger round: this project, the library ``imitation``, and the bare simulator.

benchmarks/peers/install.sh
python benchmarks/dagger_round.py [--expert FILE] [--json FILE] [--quick] [--only WORDS]
    [--without-peers]

HalfCheetah, 1,000 steps a rollout: the student drives, the expert labels every state, all is on the
disk at the end. Both have the same expert, as the same arithmetic in numpy, and a student of three
layers of 256 that was trained by themselves on what the expert showed them in round 0.
"""

from __future__ import annotations

import pickle
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from common import Row, alternate, median, parser, report, versions
from contestants import PEERS, Contestant, peer_versions
from dagger_task import WORKERS, DaggerTask
from process_memory import PeakMemory

from data_collection.teachers.gaussian_mlp import load_expert

SCRIPTS = {"project": "project_dagger.py", "imitation": "peers/imitation_dagger.py"}
SIZES = (17, 64, 64, 6)
"""Of the course's HalfCheetah expert: state, hidden layers, action."""


@dataclass(frozen=True)
class Entry:
    """One line of the table: who does what, with how many environments."""

    name: str
    library: str
    environments: int = 16
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

    rollouts: int = 128
    first_rollouts: int = 8
    train_steps: int = 300
    rounds: int = 3
    """In which memory is watched."""
    runs: int = 3


QUICK = Budget(rollouts=2, first_rollouts=2, train_steps=2, rounds=2, runs=1)


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
        self._expert = expert.resolve() if expert else _random_expert(folder / "expert.pkl")
        self._network = _arrays_of(self._expert, folder / "network.npz")

    def rows(self, entries: Sequence[Entry]) -> list[Row]:
        """Return one row an entry; rates are medians over the turns."""
        figures = {each: self._memory(each) for each in entries if each.does == "collect"}
        with ExitStack() as stack:
            running = {each: stack.enter_context(self._start(each, "speed")) for each in entries}
            self._check_labels(list(running.values()))
            for contestant in running.values():
                _first_round(contestant)
            ask = {each: partial(_rate, running[each], each.does) for each in entries}
            rates = {each: median(runs) for each, runs in alternate(ask, self._budget.runs).items()}
        bare = next((rate for each, rate in rates.items() if each.name == BARE), None)
        return [_row(each, rates[each], bare, figures.get(each, {})) for each in entries]

    def _memory(self, entry: Entry) -> Mapping[str, float]:
        """Return the figures of the last of several rounds, with memory and its growth."""
        figures: dict[str, float] = {}
        peaks_mb: list[float] = []
        with self._start(entry, "memory") as contestant:
            _first_round(contestant)
            for _ in range(self._budget.rounds):
                with PeakMemory(contestant.pid) as collecting:
                    figures = contestant.ask("collect")
                with PeakMemory(contestant.pid) as training:
                    contestant.ask("train")
                figures["peak_mb"] = collecting.mb
                peaks_mb.append(max(collecting.mb, training.mb))
        growth_mb = (peaks_mb[-1] - peaks_mb[0]) / (len(peaks_mb) - 1)
        return figures | {"growth_bytes_per_step": growth_mb * 2**20 / figures["steps"]}

    def _start(self, entry: Entry, purpose: str) -> Contestant:
        folder = self._folder / purpose / entry.name.replace(" ", "_")
        folder.mkdir(parents=True)
        task = DaggerTask(
            folder=str(folder),
            expert=str(self._expert),
            network=str(self._network),
            environments=entry.environments,
            stepping=entry.stepping,
            first_rollouts=self._budget.first_rollouts,
            rollouts=self._budget.rollouts,
            train_steps=self._budget.train_steps,
        )
        return Contestant(entry.python, SCRIPTS[entry.library], task)

    def _check_labels(self, contestants: Sequence[Contestant]) -> None:
        """Raise unless the experts of all contestants are one and the same."""
        labels = [contestant.ask("label", 0.1)["sum"] for contestant in contestants]
        if not np.allclose(labels, labels[0], rtol=1e-5):
            raise SystemExit(f"the experts differ: the sums of their actions are {labels}")


def _first_round(contestant: Contestant) -> None:
    """Have the expert drive, and the student trained that drives from then on."""
    contestant.ask("collect")
    contestant.ask("train")


def _rate(contestant: Contestant, question: str) -> float:
    return contestant.ask(question)["steps_per_s"]


def _row(entry: Entry, rate: float, bare: float | None, figures: Mapping[str, float]) -> Row:
    """Return a line of the table; who only steps has no figures of a round."""

    def shown(name: str, digits: int) -> float | None:
        return round(figures[name], digits) if name in figures else None

    length = figures["steps"] / figures["rollouts"] if figures else None
    return {
        "name": entry.name,
        "steps/s": round(rate, 1),
        "rollouts/s": round(rate / length, 3) if length else None,
        "of bare": round(rate / bare, 4) if bare else None,
        "start s": shown("start_s", 2),
        "disk B/step": shown("disk_bytes_per_step", 1),
        "disk / arrays": shown("disk_per_array_byte", 3),
        "peak MB": shown("peak_mb", 1),
        "growth B/step": shown("growth_bytes_per_step", 1),
    }


def _installed(entry: Entry) -> bool:
    if not entry.python.exists():
        sys.stderr.write(f"{entry.name} is left out: benchmarks/peers/install.sh installs it\n")
    return entry.python.exists()


def _random_expert(file: Path) -> Path:
    """Return the file after writing a course expert with random weights."""
    rng = np.random.default_rng(0)
    *hidden, out = (
        {
            "AffineLayer": {
                "W": rng.normal(0, inputs**-0.5, (inputs, size)),
                "b": np.zeros((1, size)),
            }
        }
        for inputs, size in pairwise(SIZES)
    )
    ones = np.ones((1, SIZES[0]))
    policy = {
        "obsnorm": {"Standardizer": {"mean_1_D": 0 * ones, "meansq_1_D": ones}},
        "hidden": {"FeedforwardNet": {f"layer_{i}": layer for i, layer in enumerate(hidden)}},
        "out": out,
    }
    file.write_bytes(pickle.dumps({"nonlin_type": "tanh", "GaussianPolicy": policy}, 2))
    return file


def _arrays_of(expert: Path, file: Path) -> Path:
    """Return the file after writing mean, deviation, and each layer's weights and biases in it."""
    network = load_expert(expert)
    layers = [array for layer in network.layers for array in layer]
    np.savez(file, network.mean_i, network.std_i, *layers)
    return file


if __name__ == "__main__":
    main(sys.argv[1:])
