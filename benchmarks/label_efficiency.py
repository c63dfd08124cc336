"""Success, or return, against labelled states: behaviour cloning and DAgger with the same labels.

python benchmarks/label_efficiency.py meta_world [--jobs 2] [--json FILE] [--plot FILE]
python benchmarks/label_efficiency.py course --experts FOLDER [--jobs 2] [--json FILE] [--plot FILE]

Every run is a DAgger experiment (behaviour cloning is one without rounds) in ``--work``; killed
and started again, the command goes on where it was.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display

from common import ROOT, Row, parser, report, versions
from dagger_trials import COURSE, Trial, config_of, expert_of, run_all
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

BUDGETS = (1000, 3000, 10000)
DEMONSTRATED = 3000
"""Labels of DAgger's first round: a student that is lost most of the time visits little of use."""
ROUNDS = (3500, 3500)
"""Labels of its further rounds."""
QUICK_BUDGETS = (1000, 1400)
"""Of a check: with fewer, one episode more would pass a budget by far."""
STEPS = 9000
"""Gradient steps of every training, whatever the number of labels: 10,000 labels want them all."""
DISTURBANCE = {"noise": 0.3, "push": 1.0, "push_every": 40, "push_steps": 5}
TASKS = {
    "peg-insert-side": {},
    "basketball": {},
    "stick-pull": {},
    "soccer": {},
    "pick-place, disturbed": {"disturbance": DISTURBANCE},
    "push, disturbed": {"disturbance": DISTURBANCE},
}
"""Meta-World tasks, and the parameters of their environment."""
_NEAR = 1.3
"""Times a budget, beyond which a point no longer counts at it: the last episode is whole."""
_MORE = 1.05
"""Queries a label from which they are drawn by themselves: a chunk of labels costs several."""
LABEL_EVERY = 8
"""Steps between labelled states of on-policy rounds."""
COURSE_BUDGETS = (200, 500, 1000, 2000, 5000)


@dataclass(frozen=True)
class Point:
    """What a student can do after so many labels."""

    task: str
    method: str
    seed: int
    labels: int
    queries: int
    score: float
    teacher: float


def points(trial: Trial, summary: dict[str, object], score: str) -> Iterator[Point]:
    """Yield a point for every round of a trial, and a second one where that is cloning as well."""
    labels = queries = 0
    for record in summary["rounds"]:  # type: ignore[attr-defined]
        labels += record["labels"]
        queries += record["expert_queries"]
        point = Point(
            task=trial.task,
            method=trial.method.split()[0],
            seed=trial.seed,
            labels=labels,
            queries=queries,
            score=record["evaluation"]["success_rate" if score == "success" else "mean_return"],
            teacher=float(summary[f"teacher_{'success_rate' if score == 'success' else 'return'}"]),  # type: ignore[arg-type]
        )
        yield point
        if trial.begins_as_cloning and record["round"] == 0:
            yield replace(point, method="BC")


def meta_world_trials(seeds: int, quick: bool) -> Iterator[Trial]:
    """Yield the trials on Meta-World: cloning at each further budget, DAgger that passes them."""
    config = config_of("peg_insert_side", "exp2")
    first, rounds = (QUICK_BUDGETS[0], [400]) if quick else (DEMONSTRATED, ROUNDS)
    budgets = QUICK_BUDGETS if quick else BUDGETS
    quickly = {"train.set": {"train.steps": 20, "train.save_every": 20}, "evaluation.episodes": 4}
    chosen = list(TASKS.items())[: 1 if quick else None]
    for seed, (task, params) in itertools.product(range(seeds), chosen):
        common: dict[str, object] = {
            "environment.params": {"task": f"{task.split(',')[0]}-v3", **params},
            "evaluation.episodes": 100,
            "evaluation.video_every": -1,
            "min_teacher_success": None,
            "phase1.episodes": 1000,
            "phase2.rollouts": 1000,
            "train.set": {"train.steps": STEPS, "train.save_every": STEPS},
            **(quickly if quick else {}),
        }
        for budget in budgets:
            if budget == first:  # what DAgger's first round is
                continue
            cloning = common | {"n_rounds": 0, "phase1.min_steps": budget}
            yield Trial(task, f"BC {budget}", seed, config, cloning)
        dagger = common | {
            "n_rounds": len(rounds),
            "phase1.min_steps": first,
            "phase2.min_steps": [LABEL_EVERY * labels for labels in rounds],
            "phase2.labels.every": LABEL_EVERY,
        }
        yield Trial(task, "DAgger", seed, config, dagger, begins_as_cloning=True)


def course_trials(experts: Path, seeds: int, quick: bool) -> Iterator[Trial]:
    """Yield the trials on the course's tasks: cloning at each budget, DAgger in small rounds."""
    budgets = (200, 400) if quick else COURSE_BUDGETS
    quickly = {"train.set": {"train.steps": 20, "train.save_every": 20}, "evaluation.episodes": 1}
    for task in list(COURSE)[: 1 if quick else None]:
        common: dict[str, object] = {
            "teacher.params.path": expert_of(task, experts),
            "phase1.sources": [{}],  # the expert, undisturbed, for both
            **(quickly if quick else {}),
        }
        for seed in range(seeds):
            for budget in budgets:
                steps = {"phase1.min_steps": budget, "phase1.max_steps": min(budget, 1000)}
                cloning = common | steps | {"n_rounds": 0}
                yield Trial(task, f"BC {budget}", seed, config_of(task), cloning)
            dagger = common | {
                "n_rounds": 1 if quick else 10,
                "phase1.min_steps": 200,
                "phase1.max_steps": 200,
                "phase2.min_steps": [200, 200, 200, 200, 500, 500, 500, 1000, 1000, 1000],
                "phase2.max_steps": 1000,
            }
            yield Trial(task, "DAgger", seed, config_of(task), dagger)


def budget_rows(found: Sequence[Point], budgets: Sequence[int]) -> list[Row]:
    """Return a row for each task and budget: the mean over seeds, and the spread, of both methods.

    A DAgger experiment counts at a budget with the round that reaches it, if there is one.
    """
    rows: list[Row] = []
    for task in dict.fromkeys(p.task for p in found):
        for budget in budgets:
            row: Row = {"name": f"{task}, {budget} labels"}
            for method in ("BC", "DAgger"):
                reached = _at_budget(
                    [p for p in found if (p.task, p.method) == (task, method)], budget
                )
                scores = [p.score for p in reached]
                row[method] = round(statistics.mean(scores), 3) if scores else None
                row[f"{method} ±"] = round(statistics.pstdev(scores), 3) if scores else None
                row[f"{method} queries"] = (
                    round(statistics.mean(p.queries for p in reached)) if scores else None
                )
                row[f"{method} seeds"] = len(scores)
            row["teacher"] = round(next(p.teacher for p in found if p.task == task), 3)
            rows.append(row)
    return rows


def _at_budget(found: Sequence[Point], budget: int) -> list[Point]:
    """Return each seed's point with the fewest labels of those that just pass the budget."""
    best: dict[int, Point] = {}
    for point in sorted(found, key=lambda p: p.labels):
        if budget <= point.labels < _NEAR * budget:
            best.setdefault(point.seed, point)
    return list(best.values())


def needed_rows(found: Sequence[Point], share: float = 0.95) -> list[Row]:
    """Return a row for each task: labels needed to reach a share of the teacher's return."""
    rows: list[Row] = []
    for task in dict.fromkeys(p.task for p in found):
        row: Row = {"name": f"{task}: labels to {share:g} of the expert"}
        for method in ("BC", "DAgger"):
            needed = []
            for seed in sorted({p.seed for p in found}):
                own = [p for p in found if (p.task, p.method, p.seed) == (task, method, seed)]
                good = [p.labels for p in own if p.score >= share * p.teacher]
                needed.append(min(good, default=None))
            reached = [n for n in needed if n is not None]
            row[method] = statistics.median(reached) if len(reached) == len(needed) else None
            row[f"{method} reached"] = f"{len(reached)} of {len(needed)} seeds"
        rows.append(row)
    return rows


def plot(found: Sequence[Point], path: Path, score: str) -> None:
    """Draw a panel for each task against labels, and one against queries where they are more."""
    tasks = list(dict.fromkeys(p.task for p in found))
    chunks = any(p.queries > _MORE * p.labels for p in found)
    drawn = ("labels", "queries") if chunks else ("labels",)
    size = (3.1 * len(tasks), 2.8 * len(drawn))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(drawn), len(tasks), squeeze=False, sharey="col")
    for column, task in enumerate(tasks):
        for row, axis in enumerate(drawn):
            axes = panels[row][column]
            for method, colour in (("BC", "tab:red"), ("DAgger", "tab:blue")):
                own = [p for p in found if (p.task, p.method) == (task, method)]
                for seed in {p.seed for p in own}:
                    line = sorted((getattr(p, axis), p.score) for p in own if p.seed == seed)
                    label = method if seed == 0 else None
                    axes.plot(
                        *zip(*line, strict=True), "o-", color=colour, alpha=0.6, ms=3, label=label
                    )
            axes.axhline(next(p.teacher for p in found if p.task == task), color="grey", ls="--")
            axes.set(
                xscale="log", xlabel="labelled states" if axis == "labels" else "expert queries"
            )
            axes.set_ylim(
                bottom=min(0.0, axes.get_ylim()[0])
            )  # no small step looks like a large one
            axes.xaxis.set_minor_formatter(NullFormatter())  # they would overlap
        panels[0][column].set_title(task, fontsize=10)
    for row in panels:
        row[0].set_ylabel(score)
    panels[0][0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str]) -> None:
    """Run the study, print its table, draw its plot."""
    options = parser("Labels against success: behaviour cloning and DAgger.")
    options.add_argument("study", choices=("meta_world", "course"))
    options.add_argument("--experts", type=Path, metavar="FOLDER", help="the course's expert files")
    options.add_argument("--work", type=Path, default=ROOT / "runs" / "label_efficiency")
    options.add_argument("--plot", type=Path, metavar="FILE", help="a PNG of all curves")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    args = options.parse_args(arguments)
    if args.study == "course" and args.experts is None:
        options.error("the course's experts are not shipped: give their folder with --experts")
    seeds = 1 if args.quick else args.seeds
    trials = (
        meta_world_trials(seeds, args.quick)
        if args.study == "meta_world"
        else course_trials(args.experts, seeds, args.quick)
    )
    chosen = [trial for trial in trials if args.only in trial.name]
    score = "success" if args.study == "meta_world" else "return"
    summaries = run_all(chosen, args.work / args.study, args.jobs)
    found = [p for t, s in zip(chosen, summaries, strict=True) for p in points(t, s, score)]
    if args.study == "course":
        rows = needed_rows(found)
    else:
        rows = budget_rows(found, QUICK_BUDGETS if args.quick else BUDGETS)
    report(rows, versions("torch", "mujoco", "metaworld", "gymnasium"), args.json)
    if args.plot:
        plot(found, args.plot, score)


if __name__ == "__main__":
    main(sys.argv[1:])
