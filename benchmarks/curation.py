"""How well scores find the episodes with noisy actions, and what leaving those out is worth.

python benchmarks/curation.py [--task TASK] [--json FILE]

Meta-World's expert drives; in three of ten episodes noise is added to its actions, and what was
executed is recorded as if it were right. The estimator scores all episodes; behaviour cloning
learns from all of them, from the best seven tenths, and from those that truly are clean. Killed
and started again, the command goes on where it was.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import Row, parser, report, versions
from scipy.stats import rankdata

from data_collection.collect import collect_round
from data_collection.episodes import RoundWriter, is_sealed, open_round, seal, write_episode
from data_collection.episodes.schema import ACTION, EXECUTED_ACTION
from data_collection.schema import CollectConfig
from trainer.checkpoint import resolve_checkpoint
from trainer.config import as_overrides, load_config

ROOT = Path(__file__).parents[1]
COLLECT = ROOT / "experiment_training/data_collection/pick_place/exp1/collect.yaml"
LEARNING = ROOT / "experiment_training/imitation_learning"
SCORER = LEARNING / "mutual_information_estimator/exp2/mutual_information_estimator.yaml"
CLONING = LEARNING / "behavior_cloning/exp7/behavior_cloning.yaml"
CLEAN = 0.7
"""Share of the episodes without noise, and of those that are kept."""


@dataclass(frozen=True)
class Study:
    """One task's data and runs, all below ``work``."""

    task: str
    episodes: int
    noise: float
    work: Path
    quick: bool = False

    @property
    def rounds(self) -> Path:
        """Where the round lies that is learnt from."""
        return self.work / "data"

    def collect(self) -> np.ndarray:
        """Make the round, if it is not there yet, and return (E,) which episodes are noisy."""
        noisy = [{"noise": self.noise, "share": (1 - CLEAN) / 3}] * 3
        settings = {
            "environment.params.task": self.task,
            "episodes": self.episodes,
            "keep_failures": True,
            "workers": 1,
            "drivers": [{"share": CLEAN}, *noisy],
            "save_dir": str(self.work / "driven"),
        }
        driven = collect_round(load_config(COLLECT, CollectConfig, as_overrides(settings)))
        return learn_what_was_executed(driven, self.rounds / "round_000")

    def train(self, config: Path, name: str, settings: Mapping[str, object]) -> Path:
        """Return the folder of a finished run."""
        folder = self.work / name
        data = {"data.dataset.params.rounds": [str(self.rounds)], "train.save_dir": str(folder)}
        length = {"train.steps": 20, "train.save_every": 20} if self.quick else {}
        overrides = as_overrides({**data, **length, **settings})
        command = [arg for override in overrides for arg in ("--set", override)]
        self._run("offline_trainer.py", "--train_config", str(config), *command)
        return folder

    def score(self, seed: int) -> Path:
        """Return the file of the scores that an estimator with this seed gives."""
        run = self.train(SCORER, f"estimator_{seed}", {"seed": seed})
        output = self.work / f"scores_{seed}.json"
        self._run("score.py", "--checkpoint", str(run), "--output", str(output))
        return output

    def success(self, name: str, seed: int, scores: Path | None, keep: float) -> float:
        """Return the success of behaviour cloning from the episodes with the best scores."""
        choice = None if scores is None else {"file": str(scores), "keep": keep}
        settings = {
            "seed": seed,
            "data.dataset.params.episode_scores": choice,
            "evaluation.episodes": 2 if self.quick else 100,
        }
        run = self.train(CLONING, f"cloning_{name}_{seed}", settings)
        return resolve_checkpoint(run).metrics()["evaluation/success_rate"]

    def _run(self, script: str, *arguments: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, str(ROOT / "trainer" / script), *arguments]
        with (self.work / "log.txt").open("a") as log:
            subprocess.run(command, stdout=log, stderr=log, env=environment, check=True)


def learn_what_was_executed(driven: Path, folder: Path) -> np.ndarray:
    """Record a round anew with the executed actions as those to learn; return who differs (E,)."""
    source = open_round(driven)
    episodes = [source.read_episode(e) for e in range(len(source.ids))]
    if not is_sealed(folder):
        writer = RoundWriter(folder, source.config_yaml)
        for rollout_id, arrays in zip(source.ids, episodes, strict=True):
            executed = np.clip(arrays[EXECUTED_ACTION], -1.0, 1.0)  # the robot's range
            learnt = arrays | {ACTION: executed, EXECUTED_ACTION: executed}
            attributes = source.manifest[rollout_id].attributes
            writer.enter(write_episode(folder, rollout_id, learnt, attributes))
        seal(folder, writer.records)
    return np.array([(each[ACTION] != each[EXECUTED_ACTION]).any() for each in episodes])


def auroc(scores: np.ndarray, is_good: np.ndarray) -> float:
    """Return how often a good episode scores above another one, ties counted half.

    Mann and Whitney (1947), by ranks.
    """
    good, bad = int(is_good.sum()), int((~is_good).sum())
    above = rankdata(scores)[is_good].sum() - good * (good + 1) / 2
    return float(above / (good * bad))


def write_truth(scores: Path, is_clean: np.ndarray) -> Path:
    """Return a copy of a file of scores which knows who is clean."""
    content = json.loads(scores.read_text())
    for entry, clean in zip(content["episodes"], is_clean, strict=True):
        entry["score"] = float(clean)
    path = scores.with_name("truth.json")
    path.write_text(json.dumps(content))
    return path


def study_rows(study: Study, seeds: int) -> list[Row]:
    """Return the rows of one task."""
    is_clean = ~study.collect()
    rows: list[Row] = []
    successes: dict[str, list[float]] = {"all": [], "kept": [], "clean": []}
    areas = []
    for seed in range(seeds):
        scores = study.score(seed)
        entries = json.loads(scores.read_text())["episodes"]
        areas.append(auroc(np.array([entry["score"] for entry in entries]), is_clean))
        truth = write_truth(scores, is_clean)
        chosen = {"all": (None, 1.0), "kept": (scores, CLEAN), "clean": (truth, is_clean.mean())}
        for name, (file, keep) in chosen.items():
            successes[name].append(study.success(name, seed, file, float(keep)))
    rows.append({"name": f"{study.task}: AUROC of the scores", **_spread(areas)})
    for name, found in successes.items():
        rows.append({"name": f"{study.task}: success, cloned from {name}", **_spread(found)})
    return rows


def _spread(figures: Sequence[float]) -> dict[str, float]:
    """Return mean and range over the seeds."""
    mean = round(statistics.mean(figures), 3)
    return {"mean": mean, "lowest": round(min(figures), 3), "highest": round(max(figures), 3)}


def main(arguments: Sequence[str]) -> None:
    """Run the study and print its table."""
    options = parser("Scores of episodes with noisy actions, and cloning without those.")
    options.add_argument("--task", default="push-v3", help="of Meta-World")
    options.add_argument("--episodes", type=int, default=50)
    options.add_argument("--noise", type=float, default=1.0, help="standard deviation")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--work", type=Path, default=ROOT / "runs" / "curation")
    args = options.parse_args(arguments)
    study = Study(
        task=args.task,
        episodes=10 if args.quick else args.episodes,
        noise=args.noise,
        work=args.work.resolve()
        / ("quick" if args.quick else f"{args.task}_{args.noise:g}_{args.episodes}"),
        quick=args.quick,
    )
    study.work.mkdir(parents=True, exist_ok=True)
    rows = study_rows(study, 1 if args.quick else args.seeds)
    report(rows, versions("torch", "mujoco", "metaworld", "scipy"), args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
