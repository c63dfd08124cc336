"""This project's rounds and ``dagger_rounds``, and the bare limit, as contestants."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import cast

import numpy as np
import torch
from contestants import Epoch, Task, serve_loader

from components.datasets.cache import Cache
from components.datasets.dagger_rounds import DaggerRounds
from trainer.interfaces import ACTION, IMAGE_PREFIX, Interface
from trainer.sampling import SampleOrder


def open_round(path: Path, task: Task) -> Epoch:
    """Return one-epoch iterators over the round in ``path``, cached as the task says.

    Every batch has a state and a chunk of actions; frames stay uint8, or become float32 from 0 to
    1 as LeRobot delivers them.
    """
    content = task.content
    interface = Interface(
        obs_steps=task.obs_steps,
        chunk=task.chunk,
        control_hz=20,
        state=content.state,
        action=content.action,
        cameras={name: (3, *size) for name, size in content.cameras.items()},
    )
    data = DaggerRounds(interface, path, rounds=["."], cache=cast(Cache, task.cache))
    seeds = count()

    def epoch() -> Iterator[int]:
        order = SampleOrder(np.arange(len(data)), batch_size=task.batch, seed=next(seeds))
        for indices in order.from_step(0, order.steps_per_pass):
            batch = data.__getitems__(indices)
            if task.pixels == "float32":
                for name in content.cameras:
                    batch[IMAGE_PREFIX + name] = batch[IMAGE_PREFIX + name].float().div_(255)
            yield len(batch[ACTION])

    return epoch


def open_arrays(path: Path, task: Task) -> Epoch:
    """Return the limit: windows gathered into one batch, over and over, from arrays in memory."""
    everything = list(task.content.generate())
    flat = {key: np.concatenate([arrays[key] for arrays in everything]) for key in everything[0]}
    frames = len(flat["state"])
    windows = {key: np.arange(task.obs_steps) for key in flat}
    windows["action"] = np.arange(task.chunk)
    batch = {
        key: np.empty((task.batch, len(windows[key]), *values.shape[1:]), values.dtype)
        for key, values in flat.items()
    }
    rng = np.random.default_rng(0)

    def epoch() -> Iterator[int]:
        starts = rng.permutation(frames - max(map(len, windows.values())) + 1)
        for first in range(0, len(starts) - task.batch + 1, task.batch):
            chosen = starts[first : first + task.batch, None]
            for key, values in flat.items():
                values.take(chosen + windows[key], axis=0, out=batch[key], mode="clip")
            yield task.batch

    return epoch


def main(arguments: Sequence[str]) -> None:
    """Serve as a contestant."""
    torch.set_num_threads(1)
    task = Task.from_arguments(arguments)
    open_data = open_arrays if task.cache == "bare" else open_round
    serve_loader(lambda path: open_data(path, task), task)


if __name__ == "__main__":
    main(sys.argv[1:])
