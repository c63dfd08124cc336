"""This project's on-line distillation as a contestant, and the environment alone."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import torch
from contestants import serve
from distillation_task import ACTIONS, HIDDEN, PRIVILEGED, STATE, DistillationTask, ToyEnvironment
from torch import nn

from data_collection.distillation.launch import enter_distillation
from data_collection.distillation.progress_report import ProgressReport
from data_collection.distillation.runner import DistillationRunner
from data_collection.distillation.student import load_distillation
from trainer.distributed import Ranks
from trainer.interfaces import ACTION_IS_PAD, Batch
from trainer.review import Reviewer

ROOT = Path(__file__).parents[1]
EXPERIMENT = ROOT / "experiment_training" / "distillation" / "point_ctrl" / "exp2"
GRU = ROOT / "experiment_training" / "distillation" / "point_ctrl" / "exp3"
NEVER = 10**6
_SINGLE = 64
"""Steps of the bare environment between two looks at the clock."""


def write_teacher(path: Path) -> None:
    """Write an actor of random weights the way RSL-RL does."""
    torch.manual_seed(0)
    sizes = [PRIVILEGED, *HIDDEN, ACTIONS]
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(inputs, outputs)] + ([nn.ELU()] if i < len(HIDDEN) else [])
    actor = {f"mlp.{name}": value for name, value in nn.Sequential(*layers).state_dict().items()}
    actor |= {
        "obs_normalizer._mean": torch.zeros(1, PRIVILEGED),
        "obs_normalizer._std": torch.ones(1, PRIVILEGED),
    }
    torch.save({"actor_state_dict": actor, "iter": 0}, path)


def settings(task: DistillationTask, teacher: Path) -> list[str]:
    """Return the overrides that make a shipped experiment the task's."""
    values = {
        "num_envs": task.envs,
        "observations": {"student": ["policy"], "teacher": ["teacher"]},
        "teacher": {"type": "rsl_rl_actor", "params": {"path": str(teacher)}},
        "simulation_plugins": ["data_collection.distillation.teachers.rsl_rl_actor"],
        "interface.state": STATE,
        "interface.action": ACTIONS,
        "iterations": NEVER,
        "steps_per_iteration": task.steps,
        "algorithm.use_two_stage_training": False,
        "algorithm.use_dagger": task.stored > 0,
        "algorithm.max_buffer_size": max(task.stored, task.envs * task.steps),
        "algorithm.num_learning_epochs": 1,
        "algorithm.num_mini_batches": 1,
        "train.clip_grad_norm": None,
        "train.save_dir": task.folder,
        "train.save_every": NEVER,
        "train.log_every": 1,  # as RSL-RL does
        "evaluation": None,
    }
    if task.recurrent:
        values["algorithm.gradient_length"] = task.gradient_length
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


class Distilling:
    """Iterations as ``distill.py`` runs them.

    Args:
        runner: Does them.
        reviewer: Logs.
    """

    def __init__(self, runner: DistillationRunner, reviewer: Reviewer) -> None:
        self._runner, self._reviewer = runner, reviewer
        self._report = ProgressReport(runner)

    def iterate(self, count: float) -> dict[str, float]:
        """Do ``count`` iterations, and return the steps a second of the environments."""
        steps = self._runner.config.block * count
        start, start_cpu = time.perf_counter(), time.process_time()
        before = dict(self._runner.seconds_in_all)
        for _ in range(int(count)):
            self._runner.iterate()
            self._report.review(self._reviewer)
        whole = time.perf_counter() - start
        spent = {name: s - before[name] for name, s in self._runner.seconds_in_all.items()}
        return {
            "steps_per_s": steps / whole,
            "per_cpu_s": steps / (time.process_time() - start_cpu),
            "collection_per_s": steps / spent["collection"],
            "learning_per_s": steps / spent["learning"],
        }

    def learnt(self, _: float) -> dict[str, float]:
        """Do one iteration and return which share of what was collected reached the optimizer."""
        counted = 0
        lessons = self._runner.lessons
        draw = lessons.batches

        def counting(iteration: int) -> Iterator[Batch]:
            nonlocal counted
            for batch in draw(iteration):
                counted += int((~batch[ACTION_IS_PAD]).sum())
                yield batch

        lessons.batches = counting
        self._runner.iterate()
        lessons.batches = draw
        return {"share": counted / self._runner.config.block}


def alone(environment: ToyEnvironment) -> dict[str, float]:
    """Step the environment and do nothing else."""
    actions = torch.randn(environment.num_envs, environment.num_actions)
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < 1:
        for _ in range(_SINGLE):
            environment.step(actions)
        steps += _SINGLE * environment.num_envs
    return {"steps_per_s": steps / (time.perf_counter() - start)}


def main() -> None:
    """Answer the benchmark's questions."""
    torch.set_num_threads(1)
    task = DistillationTask.from_arguments(sys.argv[1:])
    experiment = (GRU if task.recurrent else EXPERIMENT) / "distillation.yaml"
    with tempfile.TemporaryDirectory() as folder:
        teacher = Path(folder) / "model_0.pt"
        write_teacher(teacher)
        loaded = load_distillation(experiment, settings(task, teacher))
        ranks = Ranks(0, 1, torch.device("cpu"))
        with (
            enter_distillation(loaded, ranks, env=ToyEnvironment(task.envs)) as runner,
            Reviewer(runner.loop.run, ranks, dict, 0) as reviewer,
        ):
            runner.loop.prepare()
            runner.iterate()
            first_rows, first_frames = runner.history.ring.rows, runner.history.frames.rows
            while len(runner.history) < task.stored - runner.config.block:
                rows, frames = runner.history.claim_block()
                rows.copy_(first_rows[: runner.config.block].view_as(rows))
                frames.copy_(first_frames[: runner.config.block].view_as(frames))
            distilling = Distilling(runner, reviewer)
            serve(
                {
                    "iterate": distilling.iterate,
                    "learnt": distilling.learnt,
                    "alone": lambda _: alone(ToyEnvironment(task.envs)),
                }
            )


if __name__ == "__main__":
    main()
