"""How policies cope with 24 equally good routes: success, and how evenly they take all of them.

python benchmarks/multimodal.py [--jobs 2] [--json FILE] [--plot FILE]

Records the expert of Avoiding, trains each of ``ENTRIES`` with every seed, and rolls it out 480
times from one start state. All of it lies in ``--work``; killed and started again, the command goes
on where it was; nothing is trained or played twice.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from avoiding_rides import Score, expert_score, plot
from common import Row, parser, report, run_logged, versions

from data_collection.collect import collect_round
from data_collection.schema import CollectConfig
from trainer.config import load_config

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "experiment_training"
COLLECT = EXPERIMENTS / "data_collection" / "avoiding" / "exp1" / "collect.yaml"
ROLLOUTS = 480


@dataclass(frozen=True)
class Entry:
    """A policy of the table: its experiment, such as ``behavior_cloning/exp8``, and changes."""

    name: str
    experiment: str
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """Return the experiment's YAML."""
        folder = EXPERIMENTS / "imitation_learning" / self.experiment
        return folder / f"{folder.parent.name}.yaml"


ENTRIES = (
    Entry("naive flow", "naive_flow_matching_policy/exp6"),
    Entry("variational flow", "variational_flow_matching_policy/exp3"),
    Entry(
        "variational flow without transport",
        "variational_flow_matching_policy/exp3",
        {"policy.params.transport_weight": 0.0},
    ),
    Entry(
        "variational flow without experts",
        "variational_flow_matching_policy/exp3",
        {
            "model.component_build_args.gate": {"experts": 1, "top_k": 1},
            "model.component_build_args.action_decoder": {"experts": 1},
        },
    ),
    Entry(
        "variational flow without a latent",  # the prior's mean is all that is ever known
        "variational_flow_matching_policy/exp3",
        {"policy.params.latent_std": 0.0, "policy.params.prior_weight": 1000.0},
    ),
    Entry("CFG-VQ flow", "cfg_vqvae_flow_matching/exp2"),
    Entry("diffusion policy", "diffusion_policy/exp2"),
    Entry("ACT", "act/exp2"),
    Entry("behaviour cloning", "behavior_cloning/exp8"),
)


def collect(work: Path, quick: bool) -> None:
    """Record the expert's episodes, unless they are there."""
    overrides = [f"save_dir={work / 'data'}", *(["episodes=8"] if quick else [])]
    collect_round(load_config(COLLECT, CollectConfig, overrides))


def run(entry: Entry, seed: int, work: Path, quick: bool) -> Score:
    """Return the score of an entry with a seed: trained and played now, or found."""
    folder = work / entry.name.replace(" ", "_") / f"seed_{seed}"
    settings = {
        **entry.settings,
        "seed": seed,
        "data.dataset.params.rounds": [str(work / "data")],
        "train.save_dir": str(folder),
        **({"train.steps": 20, "train.save_every": 20, "evaluation.episodes": 4} if quick else {}),
    }
    command = [ROOT / "trainer" / "offline_trainer.py", "--train_config", entry.config]
    log, score = folder.with_suffix(".log"), folder.with_suffix(".npz")
    if not score.exists():
        run_logged(command, settings, log)
        unfinished = folder.with_suffix(".tmp.npz")
        play = [
            ROOT / "benchmarks" / "avoiding_rides.py",
            folder,
            str(_rollouts(quick)),
            unfinished,
        ]
        run_logged(play, {}, log)
        unfinished.rename(score)
    return Score.read(score)


def _rollouts(quick: bool) -> int:
    return 16 if quick else ROLLOUTS


def row(name: str, scores: Sequence[Score]) -> Row:
    """Return an entry's line of the table: means over its seeds, and their spread."""
    line: Row = {"name": name, "seeds": len(scores)}
    for figure in ("success", "entropy"):
        values = [getattr(score, figure) for score in scores]
        line[figure] = round(statistics.mean(values), 3)
        line[f"{figure} ±"] = round(statistics.pstdev(values), 3)
    times = [score.ms for score in scores if score.ms is not None]
    line["ms a decision"] = round(statistics.median(times), 2) if times else None
    line["evaluations"] = scores[0].evaluations
    line["gradient steps"] = scores[0].steps
    return line


def main(arguments: Sequence[str]) -> None:
    """Run the study, print its table, draw its picture."""
    options = parser("Success and behaviour entropy on a task with 24 equally good routes.")
    options.add_argument("--work", type=Path, default=ROOT / "runs" / "multimodal")
    options.add_argument("--plot", type=Path, metavar="FILE", help="a PNG of the paths, first seed")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    args = options.parse_args(arguments)
    work = (args.work / ("quick" if args.quick else "full")).resolve()
    entries = [entry for entry in ENTRIES if args.only in entry.name]
    trials = list(itertools.product(entries, range(1 if args.quick else args.seeds)))
    collect(work, args.quick)
    with ThreadPoolExecutor(args.jobs) as pool:
        runs = [pool.submit(run, *trial, work, args.quick) for trial in trials]
    scores = {"expert": [expert_score(_rollouts(args.quick))]}
    for (entry, _), score in zip(trials, runs, strict=True):
        scores.setdefault(entry.name, []).append(score.result())
    report([row(*item) for item in scores.items()], versions("torch", "numpy"), args.json)
    if args.plot:
        plot({name: each[0] for name, each in scores.items()}, args.plot)


if __name__ == "__main__":
    main(sys.argv[1:])
