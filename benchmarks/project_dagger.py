"""This project's DAgger rounds as a contestant, and the limits of the same simulator."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from contestants import serve
from dagger_limits import computing_rate, stepping_rate
from dagger_task import WORKERS, DaggerTask, round_figures

from data_collection.collect import Timing
from data_collection.dagger.schema import DaggerConfig
from data_collection.dagger.steps import DaggerSteps
from data_collection.episodes import open_round
from data_collection.teachers.gaussian_mlp import load_expert
from trainer.checkpoint import Checkpoint
from trainer.config import as_overrides, load_config

ROOT = Path(__file__).parents[1]
EXPERIMENT = ROOT / "experiment_training" / "dagger" / "half_cheetah" / "exp1" / "dagger.yaml"


class Rounds:
    """Rounds as ``dagger_runner.py`` makes them.

    Args:
        task: What to do.
    """

    def __init__(self, task: DaggerTask) -> None:
        self._task = task
        steps = {"train.steps": task.train_steps, "train.save_every": task.train_steps}
        settings = {
            "save_dir": task.folder,
            "teacher.params.path": task.expert,
            "phase1.episodes": task.first_rollouts,
            "phase1.min_steps": None,
            "phase2.rollouts": task.rollouts,
            "phase2.min_steps": None,
            "phase2.inference_batch": task.environments,
            "train.set": steps,
            "workers": WORKERS,
            "environments_per_worker": task.environments,
        }
        overrides = as_overrides(settings)
        loaded = load_config(EXPERIMENT, DaggerConfig, overrides)
        self._steps = DaggerSteps(loaded, Path(task.folder))
        self._index = 0
        self._student: Checkpoint | None = None

    def collect(self, _: float) -> dict[str, float]:
        """Collect the present round, afresh if it is there already."""
        shutil.rmtree(self._steps.folder.data(self._index), ignore_errors=True)
        start = time.perf_counter()
        folder = self._steps.collect(self._index, self._student)
        seconds = time.perf_counter() - start
        sealed = open_round(folder)
        extents = [sealed.extents(key) for key in sealed.keys]
        figures = round_figures(
            folder,
            seconds=seconds,
            rollouts=len(sealed.ids),
            steps=int(sealed.lengths.sum()),
            array_bytes=sum(int(each.rows.sum()) * each.row_bytes for each in extents),
        )
        return figures | {"start_s": seconds - Timing.read(folder).seconds}

    def train(self, _: float) -> dict[str, float]:
        """Train on all rounds; the next one begins."""
        self._student = self._steps.train(self._index, self._student)
        self._index += 1
        return {}

    def label(self, value: float) -> dict[str, float]:
        """Return the sum of the expert's action where every number of the state is ``value``."""
        network = load_expert(Path(self._task.expert))
        return {"sum": float(network(np.full(network.inputs, value)).sum())}

    def bare(self, _: float) -> dict[str, float]:
        """Step as many processes' environments with random actions, and do nothing else."""
        return {"steps_per_s": stepping_rate(self._task.rollouts)}

    def networks(self, _: float) -> dict[str, float]:
        """Also compute what has to be computed: the student's actions and the expert's labels."""
        task, student = self._task, self._student
        if student is None:
            raise SystemExit("ask for train first: there is no student yet")
        rate = computing_rate(task.rollouts, task.environments, task.expert, student)
        return {"steps_per_s": rate}


def main(arguments: Sequence[str]) -> None:
    """Serve as a contestant."""
    torch.set_num_threads(1)
    rounds = Rounds(DaggerTask.from_arguments(arguments))
    serve(
        {
            "collect": rounds.collect,
            "train": rounds.train,
            "label": rounds.label,
            "bare": rounds.bare,
            "networks": rounds.networks,
        }
    )


if __name__ == "__main__":
    main(sys.argv[1:])
