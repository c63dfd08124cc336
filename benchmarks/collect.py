"""What collecting costs over a bare simulation loop, and recording against LeRobot's recorder.

python benchmarks/collect.py [--json FILE] [--quick] [--only WORDS] [--without-peers]

The bare loop has the same simulator, expert, cameras, seeds and number of processes, and keeps
nothing. Recording is measured without simulation: three 96x96 cameras, frame by frame, until all
is on the disk; a frame is one step of all three.
"""

from __future__ import annotations

import contextlib
import io
import logging
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from common import Row, alternate, median, parser, report, versions
from contestants import PEERS, Contestant, Task, peer_versions
from rounds import as_steps, record
from synthetic import Content

from data_collection.collect import collect_round
from data_collection.episodes import open_round, seal
from data_collection.schema import CollectConfig
from data_collection.teachers import Teacher, teachers
from trainer.config import Loaded, load_config
from trainer.environment import Environment
from trainer.registry import environments, load_plugins
from trainer.rollout import RolloutJob
from trainer.signature import build

CONFIGS = Path(__file__).parents[1] / "experiment_training" / "data_collection"
CASES = {
    "collect, state only": ("pick_place/exp1/collect.yaml", 200),
    "collect, three cameras": ("three_cameras/exp1/collect.yaml", 12),
}
"""A configuration, and the episodes to play."""

FILMS = Content(10, 100, 14, 14, {"head": (96, 96), "left": (96, 96), "right": (96, 96)})
RECORDING = "record, three 96x96 cameras"
RECORDERS = ("video", "streamed video", "images")


def main(arguments: Sequence[str]) -> None:
    """Measure and report."""
    options = parser("Collecting against a bare loop, recording against LeRobot.")
    options.add_argument("--without-peers", action="store_true", help="measure this project alone")
    args = options.parse_args(arguments)
    logging.disable(logging.INFO)
    runs = 1 if args.quick else 5
    rows = [
        collecting(name, file, 2 if args.quick else episodes, runs)
        for name, (file, episodes) in CASES.items()
        if args.only in name
    ]
    if args.only in RECORDING:
        content = replace(FILMS, episodes=1) if args.quick else FILMS
        rows += recording(content, runs, () if args.without_peers else RECORDERS)
    report(rows, versions("mujoco", "metaworld", "h5py") | peer_versions(), args.json)


# ---- collecting --------------------------------------------------------------------------------


def collecting(name: str, file: str, episodes: int, runs: int) -> Row:
    """Return the row of one configuration; failures are kept, so that both play the same seeds."""
    workers = min(len(os.sched_getaffinity(0)), episodes)
    overrides = [f"episodes={episodes}", f"workers={workers}", "keep_failures=true"]
    loaded = load_config(CONFIGS / file, CollectConfig, overrides)
    contestants = {"collect": partial(_collect, loaded), "bare": partial(_simulate, loaded)}
    alternate(contestants, 1)  # starts the server that forks workers
    rates = alternate(contestants, runs)
    pairs = zip(rates["collect"], rates["bare"], strict=True)
    return {
        "name": f"{name}, {workers} processes",
        "ratio": round(median([ours / bare for ours, bare in pairs]), 4),
        "frames/s": round(median(rates["collect"]), 1),
        "reference frames/s": round(median(rates["bare"]), 1),
        "reference": "bare loop",
    }


def _collect(loaded: Loaded[CollectConfig]) -> float:
    """Return frames a second of collecting a round, from nothing to the seal."""
    with tempfile.TemporaryDirectory() as folder:
        config = loaded.config.model_copy(update={"save_dir": folder})
        start = time.perf_counter()
        with contextlib.redirect_stderr(io.StringIO()):  # the progress bar
            sealed = collect_round(replace(loaded, config=config))
        seconds = time.perf_counter() - start
        return int(open_round(sealed).lengths.sum()) / seconds


def _simulate(loaded: Loaded[CollectConfig]) -> float:
    """Return frames a second of the bare loop, in as many processes."""
    config = loaded.config
    jobs = [config.job(attempt) for attempt in range(config.attempts)]
    start = time.perf_counter()
    context = multiprocessing.get_context("forkserver")
    with context.Pool(config.workers, BareWorker.start, [loaded]) as pool:
        frames = sum(pool.imap_unordered(BareWorker.play, jobs))
    return frames / (time.perf_counter() - start)


class BareWorker:
    """What a process of the bare loop has."""

    environment: Environment
    teacher: Teacher

    @classmethod
    def start(cls, loaded: Loaded[CollectConfig]) -> None:
        """Build the environment and the expert."""
        config = loaded.config
        load_plugins(config.plugins, loaded.root)
        cls.environment = build(environments, config.environment, loaded.under("environment"))
        cls.teacher = build(teachers, config.teacher, loaded.under("teacher"))

    @classmethod
    def play(cls, job: RolloutJob) -> int:
        """Return the number of steps of an episode, which ends at its first success."""
        generator = np.random.default_rng(job.seed)
        observation = cls.environment.reset(job.seed)
        for step in range(1, cls.environment.max_steps + 1):
            action = cls.teacher.act(cls.environment, observation, generator)
            result = cls.environment.step(action)
            if result.success or result.terminated or result.truncated:
                return step
            observation = result.observation
        return cls.environment.max_steps


# ---- recording ---------------------------------------------------------------------------------


def recording(content: Content, runs: int, recorders: Sequence[str]) -> list[Row]:
    """Return the rows of this project's recorder, raw and JPEG, against LeRobot's."""
    python = PEERS / "lerobot" / "bin" / "python"
    if recorders and not python.exists():
        sys.stderr.write("LeRobot is left out: benchmarks/peers/install.sh installs it\n")
        recorders = ()
    episodes = [as_steps(arrays) for arrays in content.generate()]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def ours(storage: str) -> float:
            shutil.rmtree(folder / "ours", ignore_errors=True)
            start = time.perf_counter()
            record(folder / "ours", episodes, "jpeg" if storage == "jpeg" else "raw")
            seal(folder / "ours")
            return content.episodes * content.length / (time.perf_counter() - start)

        def theirs(contestant: Contestant) -> float:
            return contestant.ask("record")["frames_per_s"]

        measures = {f"project {storage}": partial(ours, storage) for storage in ("raw", "jpeg")}
        for storage in recorders:
            task = Task(content, str(folder / "lerobot"), do="record", storage=storage)
            peer = stack.enter_context(Contestant(python, "peers/lerobot_peer.py", task))
            measures[f"lerobot {storage}"] = partial(theirs, peer)
        rates = {name: median(each) for name, each in alternate(measures, runs).items()}
    best = max((name for name in rates if "lerobot" in name), key=rates.__getitem__, default=None)
    return [
        {
            "name": f"{RECORDING}, {name}",
            "ratio": round(rate / rates[best], 4) if best else None,
            "frames/s": round(rate, 1),
            "reference frames/s": round(rates[best], 1) if best else None,
            "reference": best,
        }
        for name, rate in rates.items()
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
