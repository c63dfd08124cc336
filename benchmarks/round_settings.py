"""What the settings of DAgger's rounds do: start, statistics, size of a round, mixing, spacing.

python benchmarks/round_settings.py [--jobs 2] [--json FILE] [--only WORDS]

Every run is ``peg_insert_side/exp1`` with one setting changed and another seed, in ``--work``;
killed and started again, the command goes on where it was. All begin with ten demonstrations.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from common import ROOT, Row, parser, report, versions
from dagger_trials import Trial, config_of, run_all

SETTINGS: Mapping[str, Mapping[str, object]] = {
    "as shipped: 2 rounds of 100": {},
    "4 rounds of 100": {"n_rounds": 4},
    "demonstrations of any length": {"phase1.max_steps": None},
    "warm start, statistics kept": {"train.start": "previous"},
    "warm start, statistics recomputed": {
        "train.start": "previous",
        "train.set.normalization.on_warm_start": "recompute",
    },
    "1 round of 200": {"n_rounds": 1, "phase2.rollouts": 200},
    "4 rounds of 50": {"n_rounds": 4, "phase2.rollouts": 50},
    "the expert acts in half of the steps": {"phase2.mixing.params.beta": 0.5},
    # As many labels as from 100 rollouts: neighbours in the place of other episodes.
    "a label for every state": {"phase2.labels.every": 1, "phase2.rollouts": 13},
}
"""By name, what is changed."""


def trials(seeds: int, quick: bool) -> Iterator[Trial]:
    """Yield an experiment for each setting and seed."""
    quickly: dict[str, object] = {
        "train.set.train.steps": 20,
        "train.set.train.save_every": 20,
        "evaluation.episodes": 2,
        "phase1.episodes": 2,
        "phase2.rollouts": 2,
    }
    for (name, changed), seed in itertools.product(SETTINGS.items(), range(seeds)):
        settings = {"evaluation.video_every": -1, **changed, **(quickly if quick else {})}
        yield Trial("peg-insert-side", name, seed, config_of("peg_insert_side"), settings)


def row(name: str, summaries: Sequence[Mapping[str, object]]) -> Row:
    """Return a setting's line: after each round the mean success over the seeds, and labels."""
    runs: list[list[dict]] = [summary["rounds"] for summary in summaries]  # type: ignore[misc]
    success = [[record["evaluation"]["success_rate"] for record in run] for run in runs]
    last = [run[-1] for run in success]
    return {
        "name": name,
        "seeds": len(runs),
        "by round": " ".join(f"{statistics.mean(each):.2f}" for each in zip(*success, strict=True)),
        "last round": round(statistics.mean(last), 3),
        "±": round(statistics.pstdev(last), 3),
        "labels": round(statistics.mean(sum(r["labels"] for r in run) for run in runs)),
        "expert actions": round(
            statistics.mean(sum(r["expert_queries"] for r in run) for run in runs)
        ),
    }


def main(arguments: Sequence[str]) -> None:
    """Run the study and print its table."""
    options = parser("What the settings of DAgger's rounds do on peg-insert-side.")
    options.add_argument("--work", type=Path, default=ROOT / "runs" / "round_settings")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    args = options.parse_args(arguments)
    chosen = [
        trial
        for trial in trials(1 if args.quick else args.seeds, args.quick)
        if args.only in trial.method
    ]
    found: dict[str, list[Mapping[str, object]]] = {}
    work = args.work / ("quick" if args.quick else "full")
    for trial, summary in zip(chosen, run_all(chosen, work, args.jobs), strict=True):
        found.setdefault(trial.method, []).append(summary)
    rows = [row(name, summaries) for name, summaries in found.items()]
    report(rows, versions("torch", "mujoco", "metaworld"), args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
