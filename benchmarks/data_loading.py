"""Loading speed, memory and disk of this project, robomimic, LeRobot and a bare gather.

benchmarks/peers/install.sh; python benchmarks/data_loading.py [--json FILE] [--quick]

The same made-up content in each library's own format; the same keys, dtypes and bytes delivered,
shuffled, collated in the main process into fresh tensors. Everyone runs on one thread in a process
of its own, and they take turns. Peers that are not installed are left out, with a notice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import distributions
from pathlib import Path

from common import Row, alternate, median, parser, report, versions
from contestants import HERE, Contestant, Spec
from rounds import write_round
from synthetic import Content

PEERS = HERE.parent / ".peers"
SCRIPTS = {
    "robomimic": "peers/robomimic_loader.py",
    "lerobot": "peers/lerobot_peer.py",
    "project": "project_loader.py",
}


@dataclass(frozen=True)
class Loader:
    """One way of loading: whose, in which storage, how cached."""

    library: str
    mode: str
    storage: str = "raw"
    pixels: str = "uint8"
    cold: bool = False
    """Whether it is measured from a cold page cache too."""

    @property
    def name(self) -> str:
        """Return how tables call it."""
        return f"{self.library} {self.storage}, {self.mode}, {self.pixels}".removesuffix(", uint8")


@dataclass(frozen=True)
class Scenario:
    """What is loaded, and by whom."""

    name: str
    content: Content
    obs_steps: int
    chunk: int
    loaders: tuple[Loader, ...]
    batch: int = 64


OURS = Loader("project", "ram", cold=True)
MAPPED = Loader("project", "none", cold=True)
JPEG = Loader("project", "ram", storage="jpeg")
FLOAT = Loader("project", "ram", pixels="float32")
BARE = Loader("project", "bare")
ROBOMIMIC = tuple(Loader("robomimic", m, cold=m == "none") for m in ("none", "low_dim", "all"))
LEROBOT = tuple(Loader("lerobot", "none", storage=s, cold=True) for s in ("video", "images"))


def scenarios(quick: bool) -> list[Scenario]:
    """Return what is measured."""
    three_84 = dict.fromkeys(("head", "left", "right"), (84, 84))
    three_96 = dict.fromkeys(("head", "left", "right"), (96, 96))
    all_of_ours = (OURS, MAPPED, JPEG, BARE)
    found = [
        Scenario(
            "low-dim, sequence 16",
            Content(250, 200, 23, 7),
            16,
            16,
            (OURS, MAPPED, BARE, *ROBOMIMIC),
        ),
        Scenario(
            "three 84x84, sequence 16",
            Content(10, 100, 23, 7, three_84),
            16,
            16,
            (*all_of_ours, *ROBOMIMIC),
        ),
        Scenario(
            "three 96x96, chunk 100",
            Content(20, 120, 14, 14, three_96),
            1,
            100,
            (*all_of_ours, FLOAT, *LEROBOT),
        ),
        Scenario(
            "three 96x96, chunk 1",
            Content(20, 120, 14, 14, three_96),
            1,
            1,
            (*all_of_ours, FLOAT, *LEROBOT),
        ),
    ]
    if not quick:
        return found
    return [replace(s, content=replace(s.content, episodes=2), batch=8) for s in found]


def main(arguments: Sequence[str]) -> None:
    """Measure all scenarios and report."""
    options = parser("Loading speed, memory and disk against the peers.")
    options.add_argument("--only", default="", help="measure scenarios with this in their name")
    args = options.parse_args(arguments)
    runs, seconds = (1, 0.2) if args.quick else (5, 2.0)
    rows = []
    for scenario in scenarios(args.quick):
        if args.only in scenario.name:
            with tempfile.TemporaryDirectory() as folder:
                rows += measure(scenario, Path(folder), runs, seconds)
    report(rows, versions("torch", "numpy") | peer_versions(), args.json)


def measure(scenario: Scenario, folder: Path, runs: int, seconds: float) -> list[Row]:
    """Return one row a loader; samples a second are medians of ``runs`` turns."""
    loaders = [loader for loader in scenario.loaders if _installed(loader.library)]
    os.environ["HF_HOME"] = str(folder / "hugging_face")  # LeRobot's converted copies
    with ExitStack() as stack:
        running = {
            loader: stack.enter_context(_start(loader, scenario, folder)) for loader in loaders
        }
        opened = {loader: contestant.ask("open") for loader, contestant in running.items()}
        warm = alternate(
            {
                loader.name: lambda c=contestant: c.ask("load", seconds)["samples_per_s"]
                for loader, contestant in running.items()
            },
            runs,
        )
    cold = {}
    for loader in (each for each in loaders if each.cold):
        with _start(loader, scenario, folder) as contestant:
            figures = []
            for _ in range(runs):
                _forget_pages(folder)
                figures.append(contestant.ask("cold", seconds)["samples_per_s"])
            cold[loader] = median(figures)
    raw = scenario.content.raw_bytes / 2**20
    return [
        {
            "name": f"{scenario.name}: {loader.name}",
            "samples/s": round(median(warm[loader.name]), 1),
            "memory / raw": round(opened[loader]["memory_mb"] / raw, 3),
            "cold samples/s": round(cold[loader], 1) if loader in cold else None,
            "disk / raw": round(_disk_mb(_place(folder, loader)) / raw, 3),
        }
        for loader in loaders
    ]


def _start(loader: Loader, scenario: Scenario, folder: Path) -> Contestant:
    """Return the contestant of a loader, after writing its data sets if they are not there."""
    small = replace(scenario.content, episodes=1)
    places = {"data": _place(folder, loader), "small": _place(folder / "small", loader)}
    for content, place in ((scenario.content, places["data"]), (small, places["small"])):
        if not place.exists():
            _write(loader, content, place)
    spec: Spec = {
        "do": "load",
        "content": scenario.content.to_json(),
        "mode": loader.mode,
        "pixels": loader.pixels,
        "obs_steps": scenario.obs_steps,
        "chunk": scenario.chunk,
        "batch": scenario.batch,
    } | {name: str(place) for name, place in places.items()}
    return Contestant(_python(loader.library), SCRIPTS[loader.library], spec)


def _write(loader: Loader, content: Content, place: Path) -> None:
    if loader.library == "project":
        write_round(place, content, loader.storage)
        return
    spec = {"do": "write", "data": str(place), "content": content.to_json(), "mode": loader.storage}
    subprocess.run(
        [str(_python(loader.library)), str(HERE / SCRIPTS[loader.library]), json.dumps(spec)],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        check=True,
        capture_output=True,
    )


def _place(folder: Path, loader: Loader) -> Path:
    return folder / f"{loader.library}_{loader.storage}".replace(" ", "_")


def _python(library: str) -> Path:
    return Path(sys.executable) if library == "project" else PEERS / library / "bin" / "python"


def _installed(library: str) -> bool:
    found = _python(library).exists()
    if not found:
        sys.stderr.write(f"{library} is left out: benchmarks/peers/install.sh installs it\n")
    return found


def peer_versions() -> dict[str, str]:
    """Return the versions of the peers that are installed."""
    return {
        found.name: found.version
        for folder in PEERS.glob("*/lib/python*/site-packages")
        for found in distributions(path=[str(folder)])
        if found.name in SCRIPTS
    }


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
