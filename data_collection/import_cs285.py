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

from data_collection.envs.course_locomotion import CourseLocomotion, CourseTask
from data_collection.episodes.schema import STATE
from data_collection.importing.imported_round import PHASE, demonstrated, import_round
from data_collection.player import described
from data_collection.restricted_pickle import load_pickle
from trainer.cli import run_command
from trainer.environment import Environment
from trainer.errors import DataError
from trainer.files import sha256_of


def import_expert_data(data: Path, task: CourseTask, folder: Path) -> Path:
    """Return ``folder``, a sealed round of the paths in ``data``, written now or found finished.

    Raises:
        DataError: The file is missing, unsafe, of another layout or another task's, or ``folder``
            holds another round.
    """
    environment = CourseLocomotion(task=task)
    episodes = {
        f"{PHASE}_{number:06d}": _arrays(path, environment, f"{data}: path {number}")
        for number, path in enumerate(_paths(data))
    }
    config = {
        "environment": {"type": "course_locomotion", "params": {"task": task}},
        "source": {"file": data.name, "sha256": sha256_of(data)},
        "recorded": described(environment),
    }
    environment.close()
    reading = {each: lambda each=each: (episodes[each], False) for each in episodes}
    return import_round(folder, config, reading).folder


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
    # "terminal" marks the last step, whether the robot fell or the time was over.
    return demonstrated(states, actions, rewards, terminated=steps < environment.max_steps)


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
