"""How fast a DAgger round could be: its simulator alone, and with both networks, nothing kept."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from threading import Barrier

import gymnasium
import numpy as np
import torch
from dagger_task import ENVIRONMENT, WORKERS

from data_collection.teachers.gaussian_mlp import load_expert
from trainer.acting import load_policy
from trainer.checkpoint import Checkpoint
from trainer.distributed import choose_device
from trainer.interfaces import STATE
from trainer.planner import acting


def stepping_rate(rollouts: int) -> float:
    """Return the steps a second of all processes: random actions, and nothing else."""
    return _together(_step, rollouts)


def computing_rate(rollouts: int, environments: int, expert: str, student: Checkpoint) -> float:
    """Return the same with the student's actions and the expert's labels, many at a time."""
    return _together(_compute, rollouts, environments, expert, student)


def _together(play: Callable[..., float], rollouts: int, *arguments: object) -> float:
    """Return the sum of what ``play`` returns in all processes, which start at the same moment."""
    context = multiprocessing.get_context("forkserver")
    share = max(1, rollouts // WORKERS)
    with context.Manager() as manager, context.Pool(WORKERS) as pool:
        start = manager.Barrier(WORKERS)
        return sum(pool.starmap(play, [(start, share, *arguments)] * WORKERS, chunksize=1))


def _step(start: Barrier, rollouts: int) -> float:
    environment, length = _make()
    actions = np.random.default_rng(0).uniform(-1, 1, (length, 6)).astype(np.float32)
    start.wait()
    begin = time.perf_counter()
    for seed in range(rollouts):
        environment.reset(seed=seed)
        for action in actions:
            environment.step(action)
    return rollouts * length / (time.perf_counter() - begin)


def _compute(
    start: Barrier, rollouts: int, environments: int, expert: str, student: Checkpoint
) -> float:
    made, lengths = zip(*(_make() for _ in range(environments)), strict=True)
    network = load_expert(Path(expert))
    policy = load_policy(student, choose_device("cpu")).policy
    generators = [torch.Generator() for _ in made]
    turns = -(-rollouts // environments)
    start.wait()
    begin = time.perf_counter()
    with acting(policy):
        for turn in range(turns):
            states = np.stack([each.reset(seed=turn)[0] for each in made])
            for _ in range(lengths[0]):
                seen = {STATE: torch.from_numpy(states[:, None]).float()}
                actions = policy.predict_action(seen, {}, generators)[0][:, 0].numpy()
                network(states)
                states = np.stack([each.step(a)[0] for each, a in zip(made, actions, strict=True)])
    return turns * sum(lengths) / (time.perf_counter() - begin)


def _make() -> tuple[gymnasium.Env, int]:
    """Return an environment and the length of its episodes."""
    environment = gymnasium.make(ENVIRONMENT, disable_env_checker=True)
    if environment.spec is None or environment.spec.max_episode_steps is None:
        raise SystemExit(f"{ENVIRONMENT} does not say how long its episodes are")
    return environment, environment.spec.max_episode_steps
