"""The four combinations of aggregation and two stages on point_ctrl, with three seeds each.

python benchmarks/distillation_table.py [--folder runs/distillation_table] [--seeds N] [--plot FILE]
    [--json FILE] [--quick] [--only WORDS]

Each trains ``point_ctrl/exp2`` (300 iterations of 24 steps of 100 environments, stage 1 for 100)
and is evaluated every 10 iterations: the student acts alone in 100 episodes, always the same.
Killed and started again, the same command goes on; what is finished is not repeated.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from common import ROOT, Row, median, parser, report, run_logged, versions

from trainer.checkpoint import newest_checkpoint

EXPERIMENT = ROOT / "experiment_training" / "distillation" / "point_ctrl" / "exp2"
COMBINATIONS = {
    "aggregation, two stages": (True, True),
    "aggregation, student throughout": (True, False),
    "newest only, two stages": (False, True),
    "newest only, student throughout": (False, False),
}
ENOUGH = 0.9
"""Of the teacher's reward."""

Curve = Mapping[int, Mapping[str, float]]
"""The figures of each evaluation, by iteration."""


def main(arguments: Sequence[str]) -> None:
    """Train what is missing, and report."""
    options = parser("On-line distillation: aggregation and stages.")
    options.add_argument("--folder", type=Path, default=ROOT / "runs" / "distillation_table")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--plot", type=Path, metavar="FILE", help="a picture of all curves")
    args = options.parse_args(arguments)
    iterations = 6 if args.quick else 300
    curves: dict[str, list[Curve]] = {}
    for name, (dagger, stages) in COMBINATIONS.items():
        if args.only not in name:
            continue
        curves[name] = []
        for seed in range(args.seeds):
            folder = args.folder.absolute() / name.replace(", ", "_").replace(" ", "_") / str(seed)
            settings: dict[str, object] = {
                "seed": seed,
                "algorithm.use_dagger": dagger,
                "algorithm.use_two_stage_training": stages,
                "train.save_dir": str(folder),
            }
            if args.quick:
                settings |= {
                    "iterations": iterations,
                    "algorithm.phase1_iterations": 2,
                    "evaluation": {"every": 2, "num_envs": 4},
                }
            curves[name].append(curve(folder, settings, iterations))
    rows = [row(name, found) for name, found in curves.items()]
    if args.plot:
        plot(curves, args.plot)
    report(rows, versions("torch", "numpy"), args.json)


def curve(folder: Path, settings: Mapping[str, object], iterations: int) -> Curve:
    """Return the evaluations of a run, which is trained to its end if it is not."""
    newest = newest_checkpoint(folder)
    if newest is None or newest.epoch < iterations:
        command = [ROOT / "data_collection" / "distill.py", "--config"]
        command.append(EXPERIMENT / "distillation.yaml")
        run_logged(command, settings, folder.with_suffix(".log"))
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    records = (json.loads(line) for line in lines)
    return {r["step"]: r for r in records if "Evaluation/mean_reward" in r}


def row(name: str, curves: Sequence[Curve]) -> Row:
    """Return the line of a combination: medians over its seeds, and the worst share."""
    last = [found[max(found)] for found in curves]
    shares = [figures["Evaluation/share_of_teacher"] for figures in last]
    reached = [reached_at(found) for found in curves]
    known = [iteration for iteration in reached if iteration is not None]
    return {
        "name": name,
        "reward": round(median([figures["Evaluation/mean_reward"] for figures in last]), 1),
        "of the teacher's": round(median(shares), 3),
        "worst seed": round(min(shares), 3),
        "success": round(median([figures["Evaluation/success_rate"] for figures in last]), 2),
        "iterations to 90 %": median(known) if len(known) == len(reached) else None,
        "seeds": len(curves),
    }


def reached_at(found: Curve) -> float | None:
    """Return the first evaluated iteration with 90 % of the teacher's reward, if there is one."""
    enough = (i for i, f in sorted(found.items()) if f["Evaluation/share_of_teacher"] >= ENOUGH)
    return next(enough, None)


def plot(curves: Mapping[str, Sequence[Curve]], file: Path) -> None:
    """Draw the share of the teacher's reward over the iterations: median and range of the seeds."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for name, found in curves.items():
        steps = sorted(found[0])
        shares = np.array([[c[i]["Evaluation/share_of_teacher"] for i in steps] for c in found])
        (line,) = axes.plot(steps, np.median(shares, axis=0), label=name)
        axes.fill_between(
            steps, shares.min(0), shares.max(0), alpha=0.15, color=line.get_color(), linewidth=0
        )
    axes.axvline(100, color="grey", linewidth=0.8, linestyle=":")
    axes.set(xlabel="iteration", ylabel="share of the teacher's reward", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main(sys.argv[1:])
