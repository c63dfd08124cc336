"""Loading speed, memory and disk of this project, robomimic, LeRobot and a bare gather.

benchmarks/peers/install.sh
python benchmarks/data_loading.py [--json FILE] [--quick] [--only WORDS] [--without-peers]

The same made-up content in each library's own format; the same keys, dtypes and bytes delivered,
shuffled, collated in the main process into fresh tensors. Everyone runs on one thread in a process
of its own, and they take turns. Peers that are not installed are left out, with a notice.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from common import Row, alternate, median, parser, report, versions
from contestants import HERE, PEERS, Contestant, ContestantError, Task, peer_versions
from rounds import write_round
from synthetic import Content

SCRIPTS = {
    "robomimic": "peers/robomimic_loader.py",
    "lerobot": "peers/lerobot_peer.py",
    "project": "project_loader.py",
}


@dataclass(frozen=True)
class Loader:
    """One way of loading: whose, from which storage, how cached (a decoder for LeRobot)."""

    library: str
    storage: str
    cache: str = "none"
    pixels: str = "uint8"
    cold: bool = False
    """Whether it is measured from a cold page cache too."""

    @property
    def name(self) -> str:
        """Return what tables call it."""
        return f"{self.library} {self.storage}, {self.cache}, {self.pixels}"

    @property
    def python(self) -> Path:
        """Return the interpreter of its environment."""
        if self.library == "project":
            return Path(sys.executable)
        return PEERS / self.library / "bin" / "python"


@dataclass(frozen=True)
class Scenario:
    """What is loaded, and by whom."""

    name: str
    content: Content
    obs_steps: int
    chunk: int
    loaders: tuple[Loader, ...]
    batch: int = 64


BARE = Loader("project", "raw", "bare")
LOW_DIM = (Loader("project", "raw", "ram", cold=True), Loader("project", "raw", cold=True), BARE)
CAMERAS = (*LOW_DIM, Loader("project", "jpeg", "ram", cold=True))
AS_FLOAT = Loader("project", "raw", "ram", "float32")
ROBOMIMIC = (
    Loader("robomimic", "hdf5", cold=True),
    Loader("robomimic", "hdf5", "low_dim"),
    Loader("robomimic", "hdf5", "all"),
)
LEROBOT = (
    Loader("lerobot", "video", "torchcodec", "float32", cold=True),
    Loader("lerobot", "video", "pyav", "float32"),
    Loader("lerobot", "images", "none", "float32", cold=True),
)
VECTORS = Content(1000, 200, 23, 7)
FILMS_84 = Content(40, 100, 23, 7, {"head": (84, 84), "left": (84, 84), "right": (84, 84)})
FILMS_96 = Content(20, 120, 14, 14, {"head": (96, 96), "left": (96, 96), "right": (96, 96)})
SCENARIOS = (
    Scenario("low-dim, sequence 16", VECTORS, 16, 16, (*LOW_DIM, *ROBOMIMIC)),
    Scenario("three 84x84, sequence 16", FILMS_84, 16, 16, (*CAMERAS, *ROBOMIMIC), batch=16),
    Scenario("three 96x96, chunk 100", FILMS_96, 1, 100, (*CAMERAS, AS_FLOAT, *LEROBOT)),
    Scenario("three 96x96, no chunk", FILMS_96, 1, 1, (*CAMERAS, AS_FLOAT, *LEROBOT)),
)


def main(arguments: Sequence[str]) -> None:
    """Measure all scenarios and report."""
    options = parser("Loading speed, memory and disk against the peers.")
    options.add_argument("--without-peers", action="store_true", help="measure this project alone")
    args = options.parse_args(arguments)
    runs, seconds = (1, 0.1) if args.quick else (5, 2.0)
    rows = []
    for scenario in SCENARIOS:
        if args.only not in scenario.name:
            continue
        if args.quick:
            content = replace(scenario.content, episodes=2)
            scenario = replace(scenario, content=content, batch=8)
        loaders = [
            loader
            for loader in scenario.loaders
            if loader.library == "project" or (not args.without_peers and _installed(loader))
        ]
        with tempfile.TemporaryDirectory() as folder:
            measuring = Measuring(scenario, Path(folder), runs, seconds)
            rows += measuring.rows(loaders)
    report(rows, versions("torch", "numpy") | peer_versions(), args.json)


@dataclass(frozen=True)
class Measuring:
    """Measures one scenario in a folder."""

    scenario: Scenario
    folder: Path
    runs: int
    seconds: float

    def rows(self, loaders: Sequence[Loader]) -> list[Row]:
        """Return one row a loader; samples a second are medians over the turns."""
        os.environ["HF_HOME"] = str(self.folder / "hugging_face")  # LeRobot's converted copies
        with ExitStack() as stack:
            started = {each: stack.enter_context(self._start(each)) for each in loaders}
            memory_mb: dict[Loader, float] = {}
            for loader, contestant in started.items():
                try:
                    memory_mb[loader] = contestant.ask("open")["memory_mb"]
                except ContestantError as error:
                    if loader.library == "project":
                        raise
                    sys.stderr.write(f"{loader.name} is left out: {error.reason}\n")
            running = {each: started[each] for each in memory_mb}
            ask = {each: partial(self._load, running[each]) for each in running}
            warm = alternate(ask, self.runs)
            cold = {each: self._cold(running[each]) for each in running if each.cold}
        raw_mb = self.scenario.content.raw_bytes / 2**20
        return [
            {
                "name": f"{self.scenario.name}: {loader.name}",
                "samples/s": round(median(warm[loader]), 1),
                "memory / raw": round(memory_mb[loader] / raw_mb, 3),
                "cold samples/s": round(cold[loader], 1) if loader in cold else None,
                "disk / raw": round(_disk_mb(self._place(loader)) / raw_mb, 3),
            }
            for loader in running
        ]

    def _load(self, contestant: Contestant) -> float:
        return contestant.ask("load", self.seconds)["samples_per_s"]

    def _cold(self, contestant: Contestant) -> float:
        """Return samples a second with nothing in the page cache, opening included."""
        contestant.ask("close")
        figures = []
        for _ in range(self.runs):
            _forget_pages(self.folder)
            figures.append(contestant.ask("cold", self.seconds)["samples_per_s"])
        return median(figures)

    def _start(self, loader: Loader) -> Contestant:
        """Return the contestant of a loader, after writing its data sets where there are none."""
        scenario = self.scenario
        task = Task(
            content=scenario.content,
            data=str(self._place(loader)),
            small=str(self._place(loader, "small_")),
            storage=loader.storage,
            cache=loader.cache,
            pixels=loader.pixels,
            obs_steps=scenario.obs_steps,
            chunk=scenario.chunk,
            batch=scenario.batch,
        )
        _write(loader, task)
        small = replace(scenario.content, episodes=1)
        _write(loader, replace(task, content=small, data=task.small))
        return Contestant(loader.python, SCRIPTS[loader.library], task)

    def _place(self, loader: Loader, prefix: str = "") -> Path:
        return self.folder / f"{prefix}{loader.library}_{loader.storage}"


def _write(loader: Loader, task: Task) -> None:
    if Path(task.data).exists():
        return
    if loader.library == "project":
        write_round(Path(task.data), task.content, "jpeg" if loader.storage == "jpeg" else "raw")
        return
    subprocess.run(
        [loader.python, HERE / SCRIPTS[loader.library], replace(task, do="write").to_argument()],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        check=True,
        capture_output=True,
    )


def _installed(loader: Loader) -> bool:
    if not loader.python.exists():
        sys.stderr.write(f"{loader.name} is left out: benchmarks/peers/install.sh installs it\n")
    return loader.python.exists()


def _forget_pages(folder: Path) -> None:
    """Drop all files below ``folder`` from the page cache."""
    for file in (path for path in folder.rglob("*") if path.is_file()):
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _disk_mb(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


if __name__ == "__main__":
    main(sys.argv[1:])
