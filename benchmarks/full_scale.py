"""The image experiments at full scale: speed, memory, arithmetic, loss curves and success.

python benchmarks/full_scale.py [--train-seconds 150] [--compile] [--plot FILE] [--json FILE]

Made for a GPU; without one ``--quick`` checks that everything works. Records episodes of
Meta-World's expert once, with depth, for all experiments. Their train steps are timed at two batch
sizes; then ``offline_trainer.py`` trains each for so many seconds' worth of steps, and
``evaluate.py`` rolls the result out, a process for each CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from common import Row, parser, report, run_logged, versions
from loss_curves import Curve, curve_of, metrics_of, plot
from step_cost import StepCost, bf16_peak, measure_step

from data_collection.collect import collect_round
from data_collection.schema import CollectConfig
from trainer.config import as_overrides, load_config
from trainer.distributed import choose_device
from trainer.evaluation import wilson_interval
from trainer.interfaces import EVALUATION_SEED_START

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "experiment_training"
COLLECT = CONFIGS / "data_collection/three_cameras/exp3/collect.yaml"
EXPERIMENTS = (
    "vfp_single_expert/exp1",
    "vfp_single_expert/exp2",
    "naive_flow_matching_policy/exp1",
    "variational_flow_matching_policy/exp1",
)
OWN_BATCH = 60
"""Of all these experiments."""


@dataclass(frozen=True)
class Study:
    """Data and runs below ``work``, and how much of everything."""

    work: Path
    device: torch.device
    workers: int
    batches: tuple[int, int]
    warm_up: int
    steps: int
    quick: bool

    def collect(self, task: str, episodes: int) -> Path:
        """Return the folder of the rounds, recorded now or found."""
        folder = self.work / f"{task}_{episodes}"
        settings = {
            "environment.params.task": task,
            "episodes": episodes,
            "save_dir": str(folder),
            "workers": self.workers,
        }
        collect_round(load_config(COLLECT, CollectConfig, as_overrides(settings)))
        return folder

    def cost(self, name: str, data: Path, batch: int, *, compiled: bool = False) -> StepCost:
        """Return what a train step of an experiment costs."""
        settings = {
            "data.dataset.params.rounds": [str(data)],
            "data.batch_size": batch,
            "train.compile": compiled,
        }
        return measure_step(
            config_of(name), settings, self.device, warm_up=self.warm_up, steps=self.steps
        )

    def train(self, name: str, data: Path, steps: int) -> Path:
        """Return the folder of a finished run."""
        folder = self.work / "runs" / f"{name.replace('/', '_')}_{data.name}_{steps}"
        settings: dict[str, object] = {
            "data.dataset.params.rounds": [str(data)],
            "data.batch_size": self.batches[0],
            "train.save_dir": str(folder),
            "train.steps": steps,
            "train.save_every": steps,
            "evaluation.every": None,
        }
        if self.quick:
            settings |= {"evaluation.max_steps": 5, "evaluation.inference_batch": 1}
        command = [ROOT / "trainer" / "offline_trainer.py", "--train_config", config_of(name)]
        run_logged(command, settings, folder.with_suffix(".log"))
        return folder

    def successes(self, run: Path, episodes: int) -> int:
        """Return how many of the episodes succeed; every CPU plays some of them."""
        seeds = range(EVALUATION_SEED_START, EVALUATION_SEED_START + episodes)
        share = -(-episodes // self.workers)

        def play(own: range) -> int:
            output = run / f"evaluation_{own.start}.json"
            output.unlink(missing_ok=True)  # an earlier one may have had other settings
            command = [ROOT / "trainer" / "evaluate.py", "--checkpoint", run, "--output", output]
            command += ["--seed", str(own.start), "--episodes", str(len(own))]
            run_logged(command, {}, output.with_suffix(".log"))
            return round(json.loads(output.read_text())["success_rate"] * len(own))

        with ThreadPoolExecutor(self.workers) as pool:
            return sum(pool.map(play, (seeds[i : i + share] for i in range(0, episodes, share))))


def config_of(name: str) -> Path:
    """Return the YAML of an experiment."""
    return CONFIGS / "imitation_learning" / name / f"{name.partition('/')[0]}.yaml"


def cost_row(name: str, cost: StepCost, peak: float) -> Row:
    """Return a step's line of the table; ``peak`` is the device's FLOP a second."""
    speed = cost.flop / cost.seconds
    memory = None if cost.peak_bytes is None else round(cost.peak_bytes / 1e9, 2)
    return {
        "name": f"{name}, batch {cost.samples}",
        "samples/s": round(cost.samples / cost.seconds, 2),
        "ms a step": round(1e3 * cost.seconds, 2),
        "waiting for data": round(cost.waiting_s / cost.seconds, 4),
        "GPU GB": memory,
        "TFLOP a step": round(cost.flop / 1e12, 4),
        "TFLOP/s": round(speed / 1e12, 3),
        "of bf16 peak": round(speed / peak, 4),
        "host syncs": cost.host_syncs,
    }


def trained_row(name: str, run: Path, successes: int | None, episodes: int) -> Row:
    """Return a run's line of the table; ``successes`` is None without an evaluation."""
    curve = curve_of(run)
    row: Row = {
        "name": f"{name}, trained",
        "samples/s": statistics.median(line["perf/samples_per_s"] for line in metrics_of(run)),
        "steps": curve[-1][0],
        "loss at a tenth": curve[len(curve) // 10][1],
        "at half": curve[len(curve) // 2][1],
        "at the end": curve[-1][1],
    }
    if successes is not None:
        low, high = wilson_interval(successes, episodes)
        row |= {"success": successes / episodes, "95 % from": low, "to": high}
    return row


def costs(study: Study, name: str, data: Path, *, compiled: bool) -> Iterator[tuple[str, StepCost]]:
    """Yield what a step costs, and under which name: its own batch, a larger one, compiled."""
    for batch in study.batches:
        yield name, study.cost(name, data, batch)
    if compiled:
        try:
            yield f"{name}, compiled", study.cost(name, data, study.batches[0], compiled=True)
        except RuntimeError as error:  # no C compiler, say
            sys.stderr.write(f"{name} cannot be compiled here: {error}\n")


def options() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    options = parser("Speed, memory, loss and success of the image experiments at full scale.")
    options.add_argument("--task", default="button-press-topdown-v3")
    options.add_argument("--episodes", type=int, default=100, help="to record")
    options.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options.add_argument("--large-batch", type=int, default=240, help="beside the YAMLs' own")
    options.add_argument("--compile", action="store_true", help="time train.compile too")
    options.add_argument("--train-seconds", type=float, default=150, help="0 trains nothing")
    options.add_argument("--evaluate", type=int, default=50, help="episodes; 0: none")
    options.add_argument("--plot", type=Path, metavar="FILE", help="a PNG of the loss curves")
    options.add_argument("--work", type=Path, default=ROOT / "runs" / "full_scale")
    return options


def main(arguments: Sequence[str]) -> None:
    """Measure, train and report, experiment by experiment: a killed run leaves what it has."""
    args = options().parse_args(arguments)
    device = choose_device("auto")
    if device.type == "cpu" and not args.quick:
        options().error("there is no GPU here; --quick checks on the CPU that everything works")
    evaluated = min(args.evaluate, 1) if args.quick else args.evaluate
    study = Study(
        work=args.work.resolve(),
        device=device,
        workers=args.workers,
        batches=(2, 3) if args.quick else (OWN_BATCH, args.large_batch),
        warm_up=1 if args.quick else 20,
        steps=1 if args.quick else 100,
        quick=args.quick,
    )
    data = study.collect(args.task, 1 if args.quick else args.episodes)
    peak = bf16_peak(device, 256 if args.quick else 8192)
    used = versions("torch", "timm", "mujoco") | {"device": device_name(device)}
    rows: list[Row] = [{"name": "bf16 product", "TFLOP/s": round(peak / 1e12, 3)}]
    curves: dict[str, Curve] = {}
    for name in (each for each in EXPERIMENTS if args.only in each):
        found = list(costs(study, name, data, compiled=args.compile))
        rows += [cost_row(label, cost, peak) for label, cost in found]
        if args.train_seconds:
            seconds = found[0][1].seconds
            steps = 2 if args.quick else max(2, round(args.train_seconds / seconds))
            run = study.train(name, data, steps)
            successes = study.successes(run, evaluated) if evaluated else None
            rows.append(trained_row(name, run, successes, evaluated))
            curves[name] = curve_of(run)
        report(rows, used, args.json)
        if args.plot and curves:
            plot(curves, args.plot)


def device_name(device: torch.device) -> str:
    """Return what the device is called."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, no GPU"


if __name__ == "__main__":
    main(sys.argv[1:])
