"""DAgger experiments as the trials of a study: run once, found again afterwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from common import ROOT, run_logged

COURSE = {"hopper": "Hopper", "half_cheetah": "HalfCheetah", "ant": "Ant", "humanoid": "Humanoid"}
"""Tasks of the course, and the name of the expert's file."""


@dataclass(frozen=True)
class Trial:
    """One DAgger experiment of the study."""

    task: str
    method: str
    seed: int
    config: Path
    settings: dict[str, object]
    begins_as_cloning: bool = False
    """Whether round 0 is what cloning with the same labels would be."""

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        words = f"{self.task} {self.method} {self.seed}".replace(",", "").split()
        return "_".join(words)

    def run(self, work: Path) -> dict[str, object]:
        """Return the experiment's ``summary.json``, made now or found."""
        folder = work / self.name
        settings = {**self.settings, "save_dir": str(folder), "seed": self.seed, "workers": 1}
        script = ROOT / "data_collection" / "dagger_runner.py"
        command = [script, "--dagger_config", self.config]
        run_logged(command, settings, folder.with_suffix(".log"))
        return json.loads((folder / "summary.json").read_text())


def run_all(trials: Sequence[Trial], work: Path, jobs: int) -> list[dict[str, object]]:
    """Return each trial's summary, ``jobs`` of them running at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda trial: trial.run(work), trials))


def config_of(task: str, experiment: str = "exp1") -> Path:
    """Return the YAML of one of a task's shipped experiments."""
    return ROOT / "experiment_training" / "dagger" / task / experiment / "dagger.yaml"


def expert_of(task: str, folder: Path) -> str:
    """Return the path of the expert of one of the course's tasks."""
    return str((folder / f"{COURSE[task]}.pkl").resolve())
