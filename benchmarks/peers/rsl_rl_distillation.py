"""RSL-RL's Distillation as a contestant of ``distillation.py``; runs in its own environment."""

# pyright: reportMissingImports=false

from __future__ import annotations

import sys
import time

import torch
from contestants import serve
from distillation_task import HIDDEN, DistillationTask, ToyEnvironment
from rsl_rl.env import VecEnv
from rsl_rl.runners import DistillationRunner

NEVER = 10**9


class Toy(ToyEnvironment, VecEnv):
    """The environment under the base class that the library asks for."""


def configuration(task: DistillationTask) -> dict:
    """Return the library's configuration of the task."""
    network = {
        "class_name": "MLPModel",
        "hidden_dims": list(HIDDEN),
        "activation": "elu",
        "obs_normalization": True,
    }
    student = dict(network)
    if task.recurrent:
        student |= {"class_name": "RNNModel", "rnn_type": "gru", "rnn_hidden_dim": 64}
    noise = {"class_name": "GaussianDistribution", "init_std": 0.1}
    return {
        "num_steps_per_env": task.steps,
        "save_interval": NEVER,
        "obs_groups": {"student": ["policy"], "teacher": ["teacher"]},
        "algorithm": {
            "class_name": "Distillation",
            "num_learning_epochs": 1,
            "gradient_length": task.gradient_length,
            "learning_rate": 1e-3,
        },
        "student": student | {"distribution_cfg": noise},
        "teacher": dict(network),
    }


def main() -> None:
    """Answer the benchmark's questions."""
    torch.set_num_threads(1)
    task = DistillationTask.from_arguments(sys.argv[1:])
    runner = DistillationRunner(
        Toy(task.envs), configuration(task), log_dir=task.folder, device="cpu"
    )
    runner.alg.teacher_loaded = True  # random weights serve as well
    spent = {"collection": 0.0, "learning": 0.0}
    taken = 0
    log, optimize = runner.logger.log, runner.alg.optimizer.step

    def timing_log(**figures: float) -> None:
        spent["collection"] += float(figures["collect_time"])
        spent["learning"] += float(figures["learn_time"])
        log(**figures)

    def counting_step(*arguments: object, **named: object) -> object:
        nonlocal taken
        taken += 1
        return optimize(*arguments, **named)

    runner.logger.log = timing_log

    def iterate(count: float) -> dict[str, float]:
        steps = task.envs * task.steps * count
        before = dict(spent)
        start, start_cpu = time.perf_counter(), time.process_time()
        runner.learn(int(count))
        whole = time.perf_counter() - start
        return {
            "steps_per_s": steps / whole,
            "per_cpu_s": steps / (time.process_time() - start_cpu),
            "collection_per_s": steps / (spent["collection"] - before["collection"]),
            "learning_per_s": steps / (spent["learning"] - before["learning"]),
        }

    def learnt(_: float) -> dict[str, float]:
        runner.alg.optimizer.step = counting_step
        before = taken
        runner.learn(1)
        runner.alg.optimizer.step = optimize
        return {"share": (taken - before) * task.gradient_length / task.steps}

    serve({"iterate": iterate, "learnt": learnt})


if __name__ == "__main__":
    main()
