"""Rounds on a local Ray cluster against worker processes, and what larger clusters would do.

    python benchmarks/cluster.py [--json FILE] [--quick] [--only WORDS]

Both play the same round with the same number of processes. Empty rollouts show what handing a job
out costs; four callers have pictures drawn one by one and in batches; a simulated clock, fed with
the durations measured here, shows where more nodes stop helping.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from common import ROOT, Row, alternate, median, parser, report, versions
from scale_out import Durations, simulate

from data_collection.backend import Backend, LocalBackend, Pool
from data_collection.cluster.micro_batches import MicroBatches
from data_collection.cluster.ray_environment import prepare
from data_collection.cluster.storage import Storage
from data_collection.collect import Timing, collect_round
from data_collection.episodes import open_round
from data_collection.schema import CollectConfig
from trainer.config import Loaded, load_config
from trainer.files import sha256_of

CONFIGS = ROOT / "experiment_training" / "data_collection"
CASES = {
    "state only": ("pick_place/exp1/collect.yaml", 1000),
    "three cameras": ("three_cameras/exp1/collect.yaml", 16),
}
"""A configuration, and the episodes to play: of the quick ones as many as a round of DAgger has."""

PROCESSES = 2
BATCHING = "render batching, 4 callers"
EMPTY_JOBS = 600
SIMULATED_NODES = (1, 10, 50, 100, 200, 400, 800, 1600)
LINK_BYTES_PER_S = 125e6
"""A network of one gigabit."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster of this machine, to which this process is connected."""

    backend: Backend
    head: psutil.Process

    def cpu_s(self, title: str) -> float:
        """Return the processor time of the cluster's processes with this title."""
        found = 0.0
        for process in self.head.children(recursive=True):
            if title in " ".join(process.cmdline()):
                times = process.cpu_times()
                found += times.user + times.system
        return found


def main(arguments: Sequence[str]) -> None:
    """Measure and report."""
    options = parser("Rounds on a Ray cluster against worker processes; simulated scale-out.")
    args = options.parse_args(arguments)
    logging.disable(logging.INFO)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ray") as folder, cluster(Path(folder)) as running:
        measuring = Measuring(running, Path(folder) / "rounds", quick=args.quick)
        for name, (file, episodes) in CASES.items():
            if args.only in name:
                rows.append(measuring.case(name, CONFIGS / file, 4 if args.quick else episodes))
        rows += measuring.overhead(args.only)
    if args.only in BATCHING:
        rows.append(batching(args.quick))
    report(rows, versions("ray", "simpy", "mujoco", "metaworld"), args.json)


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Yield a cluster of this machine with as many teacher nodes as the round has processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ |= {"HOME": str(folder), "RAY_TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    launch = [sys.executable, "-m", "data_collection.cluster.launch", "--config"]
    launch += [str(ROOT / "data_collection/cluster/templates/local.yaml")]
    launch += ["--port", str(port), "--teachers", str(PROCESSES), "--renderers", "0"]
    log = folder / "launch.log"
    with log.open("w") as said, subprocess.Popen(launch, stdout=said, stderr=said) as head:
        try:
            while "head at" not in log.read_text():
                if head.poll() is not None:
                    raise SystemExit(log.read_text())
                time.sleep(0.1)
            prepare(os.environ, f"127.0.0.1:{port}")
            from data_collection.cluster.ray_backend import ray_backend

            with ray_backend(f"127.0.0.1:{port}") as backend:
                yield Cluster(backend, psutil.Process(head.pid))
        finally:
            head.terminate()


class Watched(Backend):
    """A backend that says when a round's nodes are ready, and when they are no longer needed.

    Args:
        backend: What plays.
        say: Called at both moments.
    """

    def __init__(self, backend: Backend, say: Callable[[], None]) -> None:
        self._backend = backend
        self._say = say

    @contextmanager
    def pool(
        self, loaded: Loaded[CollectConfig], folder: Path, *, students: bool
    ) -> Iterator[Pool]:
        """Yield the backend's pool."""
        with self._backend.pool(loaded, folder, students=students) as pool:
            self._say()
            yield pool
            self._say()

    def train(self, config: Path, ranks: int) -> None:
        """Train as the backend does."""
        self._backend.train(config, ranks)


class Measuring:
    """Plays rounds here and on the cluster.

    Args:
        running: The cluster.
        folder: For rounds, which are removed again.
        quick: A tiny budget.
    """

    def __init__(self, running: Cluster, folder: Path, *, quick: bool) -> None:
        self._cluster = running
        self._folder = folder
        self._quick = quick
        self._backends: dict[str, Backend] = {"local": LocalBackend(), "ray": running.backend}

    def case(self, name: str, file: Path, episodes: int) -> Row:
        """Return the row of one configuration; failures are kept, so that both play the same."""
        overrides = [f"episodes={episodes}", "keep_failures=true", f"workers={PROCESSES}"]
        loaded = load_config(file, CollectConfig, overrides)

        def rate(backend: Backend) -> float:
            return episodes / self._play(loaded, backend)[0]

        def whole(backend: Backend) -> float:
            return self._play(loaded, backend)[1]

        runs = 1 if self._quick else 3
        rates = alternate({key: lambda b=b: rate(b) for key, b in self._backends.items()}, runs)
        starts = alternate({key: lambda b=b: whole(b) for key, b in self._backends.items()}, 1)
        ratios = [r / n for r, n in zip(rates["ray"], rates["local"], strict=True)]
        return {
            "name": f"{name}, {PROCESSES} processes",
            "rollouts/s": round(median(rates["ray"]), 2),
            "local": round(median(rates["local"]), 2),
            "ratio": round(median(ratios), 3),
            "whole round s": round(starts["ray"][0], 2),
            "local s": round(starts["local"][0], 2),
        }

    def overhead(self, only: str) -> list[Row]:
        """Return the rows about empty rollouts, and those of the simulation fed with them."""
        jobs = 20 if self._quick else EMPTY_JOBS
        loaded = self._empty(jobs)
        rows: list[Row] = []
        seconds = alternate(
            {k: lambda b=b: self._play(loaded, b)[0] / jobs for k, b in self._backends.items()},
            1 if self._quick else 3,
        )
        ray_ms, local_ms = (1e3 * median(seconds[key]) for key in ("ray", "local"))
        if only in "queue overhead":
            rows.append(
                {
                    "name": "queue overhead",
                    "ms a job": round(ray_ms - local_ms, 2),
                    "empty job on ray ms": round(ray_ms, 2),
                    "local ms": round(local_ms, 2),
                }
            )
        if only in "simulated":
            rows += self._simulated(jobs, loaded)
        return rows

    def _simulated(self, jobs: int, loaded: Loaded[CollectConfig]) -> list[Row]:
        rollouts, size = self._recorded()
        used: list[tuple[float, float]] = []

        def note() -> None:
            used.append((_own_cpu_s(), self._cluster.cpu_s("ray::TeacherQueue")))

        self._play(loaded, Watched(self._cluster.backend, note))
        runner_s, queue_s = (after - before for before, after in zip(*used, strict=True))
        durations = Durations(
            rollouts=rollouts,
            queue=queue_s / jobs,
            link=size / LINK_BYTES_PER_S,
            copy=self._copy_s(size),
            runner=runner_s / jobs,
        )
        rows: list[Row] = []
        for nodes in SIMULATED_NODES[:3] if self._quick else SIMULATED_NODES:
            outcome = simulate(
                durations, nodes, copiers=4, prefetched=6, simulated_s=40 * float(np.mean(rollouts))
            )
            rows.append(
                {
                    "name": f"simulated, {nodes} nodes",
                    "rollouts/s": round(outcome.rollouts_per_s, 2),
                    "nodes busy": round(outcome.nodes_busy, 3),
                    **{f"{part} busy": round(share, 3) for part, share in outcome.busy.items()},
                    "limit": outcome.limit,
                }
            )
        return rows

    def _recorded(self) -> tuple[list[float], float]:
        """Return how long rollouts with three cameras take, and the mean bytes of an episode."""
        overrides = ["episodes=4", "keep_failures=true", "workers=1", f"save_dir={self._folder}"]
        if not self._quick:
            overrides[0] = "episodes=12"
        loaded = load_config(CONFIGS / CASES["three cameras"][0], CollectConfig, overrides)
        folder = collect_round(loaded)
        sealed, timing = open_round(folder), Timing.read(folder)
        records = list(sealed.manifest.values())
        step_s = timing.seconds / timing.frames
        size = float(np.mean([record.bytes for record in records]))
        rollouts = [record.length * step_s for record in records]
        shutil.rmtree(self._folder)
        return rollouts, size

    def _copy_s(self, size: float) -> float:
        """Return how long the runner's copy of such an episode from a folder takes."""
        self._folder.mkdir(parents=True, exist_ok=True)
        source = self._folder / "episode"
        source.write_bytes(os.urandom(int(size)))
        storage, digest = Storage(str(self._folder / "storage")), sha256_of(source)
        storage.put(source, "episode")
        taken = []
        for i in range(3 if self._quick else 15):
            begin = time.perf_counter()
            storage.get("episode", self._folder / f"copy_{i}", digest)
            taken.append(time.perf_counter() - begin)
        shutil.rmtree(self._folder)
        return median(taken)

    def _empty(self, jobs: int) -> Loaded[CollectConfig]:
        file = self._folder.parent / "empty.yaml"
        file.write_text(
            f"plugins: [{ROOT / 'benchmarks' / 'empty_task.py'}]\n"
            f"save_dir: unused\nepisodes: {jobs}\nworkers: 1\nkeep_failures: true\n"
            "environment: {type: empty_task}\nteacher: {type: idle}\n"
        )
        return load_config(file, CollectConfig)

    def _play(self, loaded: Loaded[CollectConfig], backend: Backend) -> tuple[float, float]:
        """Return the seconds between the first job and the last outcome, and those of all of it."""
        config = loaded.config.model_copy(update={"save_dir": str(self._folder)})
        here = Loaded(config, config.model_dump(mode="json"), loaded.root, loaded.marks)
        begin = time.perf_counter()
        folder = collect_round(here, backend=backend)
        taken, timing = time.perf_counter() - begin, Timing.read(folder)
        shutil.rmtree(self._folder)
        return timing.seconds, taken


def batching(quick: bool) -> Row:
    """Return the row of four callers that ask a small network for one picture at a time."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        *(torch.nn.Conv2d(c, 32, 3, padding=1) for c in (4, 32, 32)),
        torch.nn.Conv2d(32, 3, 3, padding=1),
    )
    calls = 8 if quick else 200

    def draw(scenes: list[torch.Tensor]) -> list[torch.Tensor]:
        with torch.inference_mode():
            return list(network(torch.stack(scenes)))

    async def callers(batches: MicroBatches[torch.Tensor, torch.Tensor]) -> None:
        async def caller() -> None:
            for _ in range(calls // 4):
                await batches.submit([torch.zeros(4, 96, 96)])

        await asyncio.gather(*(caller() for _ in range(4)))

    def rate(most: int) -> float:
        batches: MicroBatches[torch.Tensor, torch.Tensor] = MicroBatches(
            draw, max_batch=most, max_wait_s=0.002
        )
        begin = time.perf_counter()
        asyncio.run(callers(batches))
        return calls / (time.perf_counter() - begin)

    rates = alternate({most: lambda m=most: rate(m) for most in (1, 4)}, 1 if quick else 5)
    one, four = median(rates[1]), median(rates[4])
    return {
        "name": BATCHING,
        "pictures/s": round(four, 1),
        "one by one": round(one, 1),
        "gain": round(four / one, 2),
    }


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(sys.argv[1:])
