"""Functions run by two processes that talk to each other, as ranks of a training do."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist


def run_on_two_ranks(work: Callable[[int], torch.Tensor], folder: Path) -> list[torch.Tensor]:
    """Return what ``work(rank)``, a function of a module, returns on each of two ranks."""
    children = [
        multiprocessing.get_context("forkserver").Process(target=_run, args=(work, rank, folder))
        for rank in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def _run(work: Callable[[int], torch.Tensor], rank: int, folder: Path) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    torch.save(work(rank), folder / f"{rank}.pt")
    dist.destroy_process_group()
