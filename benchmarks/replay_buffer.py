"""The aggregated history's storage: this project, torchrl's ReplayBuffer, a plain tensor ring.

benchmarks/peers/install.sh torchrl
python benchmarks/replay_buffer.py [--json FILE] [--quick] [--only WORDS] [--without-peers]

Transitions of 393 bytes in five fields, room for a million, which is full; one thread. All three
take the fields as tensors of their own and give them back by name. Transitions are added 2,400 at a
time and one by one; 4,096 random ones are fetched together.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from common import Row, alternate, median, parser, report, versions
from contestants import PEERS, Contestant, peer_versions
from replay_task import RAW_BYTES, BufferTask

PEER = "torchrl"
SECONDS = 1.0
QUESTIONS = {
    "extend/s": "extend",
    "one by one/s": "extend_one",
    "sample(4096)/s": "sample",
}
"""Columns, and the question that each answers."""


@dataclass(frozen=True)
class Entry:
    """One line of the table."""

    name: str
    library: str
    plain: bool = False

    @property
    def python(self) -> Path:
        """Return the interpreter of its environment."""
        ours = self.library == "project"
        return Path(sys.executable) if ours else PEERS / self.library / "bin" / "python"

    @property
    def script(self) -> str:
        """Return the script that measures it."""
        return "project_buffer.py" if self.library == "project" else "peers/torchrl_buffer.py"


ENTRIES = (
    Entry("project", "project"),
    Entry("torchrl, LazyTensorStorage", PEER),
    Entry("plain ring, a tensor a field", "project", plain=True),
)


def main(arguments: Sequence[str]) -> None:
    """Measure and report."""
    options = parser("The aggregated history's storage, against torchrl's ReplayBuffer.")
    options.add_argument("--without-peers", action="store_true", help="measure this project alone")
    args = options.parse_args(arguments)
    here = not args.without_peers and (PEERS / PEER / "bin" / "python").exists()
    if not here:
        sys.stderr.write(f"{PEER} is left out: benchmarks/peers/install.sh {PEER} installs it\n")
    entries = [
        entry
        for entry in ENTRIES
        if args.only in entry.name and (here or entry.library == "project")
    ]
    task, runs, seconds = BufferTask(1_000_000, 2400, 4096), 7, SECONDS
    if args.quick:
        task, runs, seconds = BufferTask(10_000, 2400, 4096), 1, 0.02
    report(rows(entries, task, runs, seconds), versions("torch") | peer_versions(), args.json)


def rows(entries: Sequence[Entry], task: BufferTask, runs: int, seconds: float) -> list[Row]:
    """Return the figures of all entries, which take turns."""
    found: dict[Entry, Row] = {}
    with ExitStack() as stack:
        running = {
            entry: stack.enter_context(
                Contestant(entry.python, entry.script, replace(task, plain=entry.plain))
            )
            for entry in entries
        }
        for entry, contestant in running.items():
            stored = contestant.ask("memory")["bytes"]
            found[entry] = {"name": entry.name, "memory / raw": round(stored / RAW_BYTES, 3)}
        peer = next((entry for entry in entries if entry.library == PEER), None)
        for column, question in QUESTIONS.items():
            asks = {
                entry: (lambda c=contestant, q=question: c.ask(q, seconds)["rate"])
                for entry, contestant in running.items()
            }
            rates = alternate(asks, runs)
            for entry in entries:
                found[entry][column] = round(median(rates[entry]))
                if peer:
                    pairs = zip(rates[entry], rates[peer], strict=True)
                    ratios = [own / theirs for own, theirs in pairs]
                    found[entry][f"{column.split('/')[0]}: ratio"] = round(median(ratios), 2)
    return list(found.values())


if __name__ == "__main__":
    main(sys.argv[1:])
