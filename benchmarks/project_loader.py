"""This project's rounds and ``dagger_rounds``, and the bare limit, as contestants."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from contestants import Epoch, Spec, serve_loader
from synthetic import Content

from components.datasets.dagger_rounds import DaggerRounds
from trainer.interfaces import ACTION, IMAGE_PREFIX, Interface
from trainer.sampling import SampleOrder


def open_round(path: Path, content: Content, spec: Spec) -> Epoch:
    """Return one-epoch iterators over the round in ``path``, cached as the spec's mode says.

    Every batch has a state and a chunk of actions; frames stay uint8, or become float32 from 0 to
    1 as LeRobot delivers them.
    """
    interface = Interface(
        obs_steps=spec["obs_steps"],
        chunk=spec["chunk"],
        control_hz=20,
        state=content.state,
        action=content.action,
        cameras={name: (3, *size) for name, size in content.cameras.items()},
    )
    data = DaggerRounds(interface, path, rounds=["."], cache=spec["mode"])
    order = SampleOrder(np.arange(len(data)), batch_size=spec["batch"])
    steps = order.steps_per_pass
    passes = iter(range(0, sys.maxsize, steps))

    def epoch() -> Iterator[int]:
        first = next(passes)
        for indices in order.from_step(first, first + steps):
            batch = data.__getitems__(indices)
            if spec["pixels"] == "float32":
                for name in content.cameras:
                    batch[IMAGE_PREFIX + name] = batch[IMAGE_PREFIX + name].float().div_(255)
            yield len(batch[ACTION])

    return epoch


def open_arrays(path: Path, content: Content, spec: Spec) -> Epoch:
    """Return the limit: windows gathered from arrays in memory, with nothing around it."""
    everything = list(content.generate())
    flat = {key: np.concatenate([arrays[key] for arrays in everything]) for key in everything[0]}
    frames = len(flat["state"])
    windows = {key: np.arange(spec["obs_steps"]) for key in flat}
    windows["action"] = np.arange(spec["chunk"])
    rng = np.random.default_rng(0)

    def epoch() -> Iterator[int]:
        starts = rng.permutation(frames - max(map(len, windows.values())) + 1)
        for first in range(0, len(starts) - spec["batch"] + 1, spec["batch"]):
            chosen = starts[first : first + spec["batch"], None]
            batch = {
                key: torch.from_numpy(values.take(chosen + windows[key], axis=0, mode="clip"))
                for key, values in flat.items()
            }
            yield len(batch["action"])

    return epoch


def main(arguments: Sequence[str]) -> None:
    """Serve as a contestant."""
    torch.set_num_threads(1)
    spec = json.loads(arguments[0])
    content = Content.from_json(spec["content"])
    open_it = open_arrays if spec["mode"] == "bare" else open_round
    serve_loader(lambda path: open_it(path, content, spec), spec)


if __name__ == "__main__":
    main(sys.argv[1:])
