"""The course's exercise: the student's share of the expert's return after each round of DAgger.

python benchmarks/course_rounds.py --experts FOLDER [--jobs 2] [--json FILE] [--plot FILE]

Every run is a shipped experiment with another seed, in ``--work``; killed and started again, the
command goes on where it was.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display

from common import ROOT, Row, parser, report, versions
from dagger_trials import COURSE, Trial, config_of, expert_of, run_all
from matplotlib.figure import Figure

Shares = Mapping[str, Sequence[Sequence[float]]]
"""For each task and seed, the share of the expert's return after each round."""


def trials(experts: Path, seeds: int, quick: bool) -> Iterator[Trial]:
    """Yield the experiment of each task with each seed."""
    quickly: dict[str, object] = {
        "n_rounds": 1,
        "train.set": {"train.steps": 20, "train.save_every": 20},
        "evaluation.episodes": 1,
        "phase1.min_steps": 100,
        "phase2.min_steps": 100,
    }
    for task in list(COURSE)[: 1 if quick else None]:
        settings = {"teacher.params.path": expert_of(task, experts), **(quickly if quick else {})}
        for seed in range(seeds):
            yield Trial(task, "DAgger", seed, config_of(task), settings)


def shares(summary: Mapping[str, object]) -> list[float]:
    """Return the share of the expert's return, on the same seeds, after each round."""
    rounds: list[dict] = summary["rounds"]  # type: ignore[assignment]
    expert = float(summary["teacher_return"])  # type: ignore[arg-type]
    return [record["evaluation"]["mean_return"] / expert for record in rounds]


def rows(found: Shares) -> Iterator[Row]:
    """Yield a line for each task and seed, and one for the mean over the seeds."""
    for task, runs in found.items():
        for seed, run in enumerate(runs):
            yield _row(f"{task}, seed {seed}", run)
        yield _row(f"{task}, mean", [statistics.mean(each) for each in zip(*runs, strict=True)])


def _row(name: str, run: Sequence[float]) -> Row:
    return {"name": name, **{f"round {i}": f"{share:.3f}" for i, share in enumerate(run)}}


def plot(found: Shares, path: Path) -> None:
    """Draw a panel for each task, a line for each seed."""
    figure = Figure(figsize=(3.1 * len(found), 3), layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    for axes, (task, runs) in zip(panels, found.items(), strict=True):
        for seed, run in enumerate(runs):
            axes.plot(range(len(run)), run, "o-", ms=3, alpha=0.7, label=f"seed {seed}")
        axes.axhline(1.0, color="grey", ls="--")
        axes.set(title=task, xlabel="round (0: cloning)")
    panels[0].set_ylabel("share of the expert's return")
    panels[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str]) -> None:
    """Run the study, print its table, draw its plot."""
    options = parser("The course's tasks: share of the expert's return by round of DAgger.")
    options.add_argument("--experts", type=Path, metavar="FOLDER", required=True)
    options.add_argument("--work", type=Path, default=ROOT / "runs" / "course_rounds")
    options.add_argument("--plot", type=Path, metavar="FILE", help="a PNG of all curves")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    args = options.parse_args(arguments)
    seeds = 1 if args.quick else args.seeds
    chosen = [t for t in trials(args.experts, seeds, args.quick) if args.only in t.name]
    found: dict[str, list[list[float]]] = {}
    for trial, summary in zip(chosen, run_all(chosen, args.work, args.jobs), strict=True):
        found.setdefault(trial.task, []).append(shares(summary))
    report(list(rows(found)), versions("torch", "mujoco", "gymnasium"), args.json)
    if args.plot:
        plot(found, args.plot)


if __name__ == "__main__":
    main(sys.argv[1:])
