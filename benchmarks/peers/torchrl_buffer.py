"""torchrl's ReplayBuffer as a contestant of ``replay_buffer.py``; runs in its own environment."""

# pyright: reportMissingImports=false

from __future__ import annotations

import sys

import torch
from contestants import serve
from replay_task import BufferTask, made_up, rate, resident_mb
from tensordict import TensorDict
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer


def main() -> None:
    """Answer the benchmark's questions."""
    torch.set_num_threads(1)
    task = BufferTask.from_arguments(sys.argv[1:])
    chunk = TensorDict(made_up(task.chunk), batch_size=[task.chunk])
    single = TensorDict(made_up(1), batch_size=[1])
    before = resident_mb()
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(task.capacity), batch_size=task.batch)
    for _ in range(-(-task.capacity // task.chunk)):
        buffer.extend(chunk)
    memory = resident_mb() - before
    serve(
        {
            "memory": lambda _: {"bytes": memory * 2**20 / task.capacity},
            "extend": lambda s: {"rate": rate(lambda: buffer.extend(chunk), s) * task.chunk},
            "extend_one": lambda s: {"rate": rate(lambda: buffer.extend(single), s)},
            "sample": lambda s: {"rate": rate(buffer.sample, s)},
        }
    )


if __name__ == "__main__":
    main()
