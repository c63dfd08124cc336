"""What tokens that look at each other, and depth, are worth: success after equal seconds.

python benchmarks/single_expert.py [--seconds 300] [--jobs 2] [--json FILE]

Records 50 episodes of Meta-World's expert for each task, with three small cameras and the depth of
one. The naive flow policy and both single-expert policies learn from them for as long: their
numbers of gradient steps follow from the times of their steps, taken in turns. Killed and started
again, the command goes on where it was.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from common import Row, alternate, median, parser, report, run_logged, versions

from data_collection.collect import collect_round
from data_collection.schema import CollectConfig
from trainer.build import build_run, load_experiment
from trainer.checkpoint import resolve_checkpoint
from trainer.config import as_overrides, load_config
from trainer.distributed import Ranks
from trainer.loop import TrainLoop

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "experiment_training"
COLLECT = EXPERIMENTS / "data_collection/three_cameras/exp4/collect.yaml"
TASKS = ("drawer-open-v3", "button-press-topdown-v3")
POLICIES = {
    "naive flow": "naive_flow_matching_policy/exp5",
    "single expert": "vfp_single_expert/exp3",
    "single expert, depth": "vfp_single_expert/exp4",
}
"""Their experiments."""
TURNS = 5


@dataclass(frozen=True)
class Study:
    """All data and runs, below ``work``."""

    work: Path
    quick: bool

    def collect(self, task: str) -> Path:
        """Return the folder of a task's rounds, recorded now or found."""
        folder = self.work / task / "data"
        settings = {"environment.params.task": task, "save_dir": str(folder)}
        settings |= {"episodes": 2} if self.quick else {}
        collect_round(load_config(COLLECT, CollectConfig, as_overrides(settings)))
        return folder

    def train(self, policy: str, task: str, steps: int) -> Path:
        """Return the folder of a finished run."""
        folder = self.work / task / policy.replace(", ", "_").replace(" ", "_")
        settings = {
            "data.dataset.params.rounds": [str(self.work / task / "data")],
            "train.save_dir": str(folder),
            "train.steps": steps,
            "train.save_every": steps,
            "evaluation.every": 1,
            "evaluation.episodes": 2 if self.quick else 100,
        }
        command = [ROOT / "trainer" / "offline_trainer.py", "--train_config", config_of(policy)]
        run_logged(command, settings, folder.with_suffix(".log"))
        return folder

    def steps(self, seconds: float) -> dict[str, int]:
        """Return how many gradient steps each policy takes in so many seconds."""
        path = self.work / f"steps_{seconds:g}.json"
        if not path.is_file():
            data = self.work / TASKS[0] / "data"
            steppers = {name: stepper(config_of(name), data) for name in POLICIES}
            times = alternate(steppers, 1 if self.quick else TURNS)
            counts = {name: max(2, round(seconds / median(t))) for name, t in times.items()}
            path.write_text(json.dumps(counts))
        return json.loads(path.read_text())


def config_of(policy: str) -> Path:
    """Return the experiment YAML of a policy of the table."""
    folder = EXPERIMENTS / "imitation_learning" / POLICIES[policy]
    return folder / f"{folder.parent.name}.yaml"


def stepper(config: Path, data: Path) -> Callable[[], float]:
    """Return a function that trains a few steps and returns the seconds of one of them."""
    overrides = as_overrides({"data.dataset.params.rounds": [str(data)], "evaluation": None})
    run = build_run(load_experiment(config, overrides))
    loop = TrainLoop(run, Ranks(0, 1, torch.device("cpu")))
    loop.policy.train()
    batches = map(run.dataset.__getitems__, loop.order.from_step(0, loop.total_steps))

    def seconds_a_step(steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            loop.train_step(batches)
        return (time.perf_counter() - start) / steps

    seconds_a_step(2)  # the first ones make caches
    return partial(seconds_a_step, 5)


def row(policy: str, task: str, steps: int, run: Path) -> Row:
    """Return a run's line of the table."""
    figures = resolve_checkpoint(run).metrics()
    return {
        "name": f"{task}: {policy}",
        "success": figures["evaluation/success_rate"],
        "95 % from": figures["evaluation/success_low"],
        "to": figures["evaluation/success_high"],
        "gradient steps": steps,
    }


def main(arguments: Sequence[str]) -> None:
    """Run the study and print its table."""
    options = parser("Success of small image policies after equal seconds of training.")
    options.add_argument("--seconds", type=float, default=300, help="of training, on one thread")
    options.add_argument("--work", type=Path, default=ROOT / "runs" / "single_expert")
    options.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    args = options.parse_args(arguments)
    torch.set_num_threads(1)
    study = Study((args.work / ("quick" if args.quick else "full")).resolve(), args.quick)
    tasks = TASKS[:1] if args.quick else TASKS
    for task in tasks:
        study.collect(task)
    counts = study.steps(0.1 if args.quick else args.seconds)
    trials = [(p, t, counts[p]) for t in tasks for p in POLICIES if args.only in f"{t}: {p}"]
    with ThreadPoolExecutor(args.jobs) as pool:
        runs = list(pool.map(lambda trial: study.train(*trial), trials))
    rows = [row(*trial, run) for trial, run in zip(trials, runs, strict=True)]
    report(rows, versions("torch", "mujoco", "metaworld"), args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
