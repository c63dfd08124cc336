"""Turns expert data of the imitation-learning course into a sealed round.

python -m data_collection.import_cs285 --data expert_data_Hopper-v2.pkl --task hopper \
    --output data/course/hopper/round_000
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import yaml

from data_collection.envs.course_locomotion import CourseLocomotion, CourseTask
from data_collection.episodes import (
    EpisodeAttributes,
    EpisodeError,
    RoundWriter,
    is_sealed,
    seal,
    write_episode,
)
from data_collection.episodes.schema import (
    ACTION,
    ACTION_VALID,
    ACTOR,
    EXECUTED_ACTION,
    EXPERT,
    REWARD,
    STATE,
    TERMINATED,
    TRUNCATED,
)
from data_collection.player import described
from data_collection.restricted_pickle import load_pickle
from trainer.cli import run_command
from trainer.environment import Environment
from trainer.errors import DataError
from trainer.files import sha256_of

PHASE = "imported"


def import_expert_data(data: Path, task: CourseTask, folder: Path) -> Path:
    """Return ``folder``, a sealed round of the paths in ``data``, written now or found finished.

    Raises:
        DataError: The file is missing, unsafe, of another layout or another task's, or ``folder``
            holds another round.
    """
    environment = CourseLocomotion(task=task)
    episodes = [
        _arrays(path, environment, f"{data}: path {i}") for i, path in enumerate(_paths(data))
    ]
    config = {
        "environment": {"type": "course_locomotion", "params": {"task": task}},
        "source": {"file": data.name, "sha256": sha256_of(data)},
        "recorded": described(environment),
    }
    environment.close()
    config_yaml = yaml.safe_dump(config, sort_keys=False)
    try:
        if not is_sealed(folder) or (folder / "config.yaml").read_text() != config_yaml:
            _write(folder, config_yaml, episodes)
    except EpisodeError as error:
        raise DataError(str(error)) from error
    return folder


def _write(folder: Path, config_yaml: str, episodes: Sequence[dict[str, np.ndarray]]) -> None:
    writer = RoundWriter(folder, config_yaml)
    writer.adopt()  # what a killed import left
    for number, arrays in enumerate(episodes):
        rollout_id = f"{PHASE}_{number:06d}"
        if rollout_id not in writer.records:
            attributes = EpisodeAttributes(seed=number, success=False, phase=PHASE)
            writer.enter(write_episode(folder, rollout_id, arrays, attributes))
    seal(folder)


def _paths(data: Path) -> list[Mapping[str, object]]:
    content = load_pickle(data)
    if (
        not isinstance(content, list)
        or not content
        or not all(isinstance(p, dict) for p in content)
    ):
        raise DataError(f"{data}: expected a list of paths (dictionaries of arrays)")
    return content


def _arrays(
    path: Mapping[str, object], environment: Environment, where: str
) -> dict[str, np.ndarray]:
    """Return an episode's arrays, one row a step; the expert acted and its action is the label."""
    states = _column(path, "observation", where, environment.observation_shapes[STATE])
    actions = _column(path, "action", where, (environment.action_dim,))
    rewards = _column(path, "reward", where, ())
    steps = len(states)
    if not steps or {len(actions), len(rewards)} != {steps}:
        raise DataError(
            f"{where}: {steps} observations, {len(actions)} actions, {len(rewards)} rewards"
        )
    is_last = np.arange(steps) == steps - 1
    # "terminal" marks the last step, whether the robot fell or the time was over.
    ran_out = steps >= environment.max_steps
    return {
        STATE: states,
        ACTION: actions,
        ACTION_VALID: np.ones(steps, dtype=bool),
        EXECUTED_ACTION: actions,
        ACTOR: np.full(steps, EXPERT, dtype=np.uint8),
        REWARD: rewards,
        TERMINATED: is_last & (not ran_out),
        TRUNCATED: is_last & ran_out,
    }


def _column(
    path: Mapping[str, object], name: str, where: str, row_shape: tuple[int, ...]
) -> np.ndarray:
    array = path.get(name)
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim == 0:
        raise DataError(f"{where}: expected an array of numbers {name!r}; it has {sorted(path)}")
    if array.shape[1:] != row_shape:
        raise DataError(
            f"{where}: {name} has rows of shape {array.shape[1:]}, the task {row_shape}; are these "
            "the data of another task?"
        )
    return array.astype(np.float32)


def main(arguments: Sequence[str]) -> int:
    """Import from the command line and return the exit code."""
    args = _parser().parse_args(arguments)
    folder = import_expert_data(args.data, args.task, args.output)
    sys.stdout.write(f"{folder}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_collection.import_cs285",
        description="Turn expert data of the imitation-learning course into a sealed round.",
        epilog="example: python -m data_collection.import_cs285 --data expert_data_Hopper-v2.pkl "
        "--task hopper --output data/course/hopper/round_000",
    )
    parser.add_argument("--data", type=Path, required=True, help="the pickle of expert paths")
    parser.add_argument("--task", choices=get_args(CourseTask), required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder of the new round")
    return parser


if __name__ == "__main__":
    run_command(main, resumes=True)
