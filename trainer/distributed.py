"""torchrun's environment, the process group, and the few collectives that the loop needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainer.errors import ConfigError

T = TypeVar("T")

# Rank 0 evaluates and validates while the others wait for it at the next collective.
_COLLECTIVE_TIMEOUT = timedelta(hours=6)


@dataclass(frozen=True)
class Ranks:
    """This process's place among the ranks, and the device it trains on."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this rank writes files and logs."""
        return self.rank == 0

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Return ``values`` summed over all ranks, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def all_reduce_max(self, values: Tensor) -> Tensor:
        """Return the largest of all ranks' ``values``, in place."""
        if self.world_size > 1:
            dist.all_reduce(values, dist.ReduceOp.MAX)
        return values

    def gather_objects(self, value: T) -> list[T]:
        """Return every rank's value on rank 0, and an empty list elsewhere."""
        if self.world_size == 1:
            return [value]
        gathered: list[T] = [value] * self.world_size if self.is_main else []
        dist.gather_object(value, gathered or None)
        return gathered

    def wrap(self, policy: nn.Module) -> nn.Module:
        """Return the policy in DDP when there are several ranks, else the policy itself.

        Buffers are not broadcast: they are equal by construction, or (batch statistics) rank 0's
        are the ones saved.
        """
        if self.world_size == 1:
            return policy
        return nn.parallel.DistributedDataParallel(policy, broadcast_buffers=False)


def choose_device(device: str) -> torch.device:
    """Return the device that "auto" (a GPU when there is one), "cpu" or "cuda" means here.

    Raises:
        ConfigError: a GPU is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("cuda was asked for, but torch sees no GPU; use auto or cpu")
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """Enter the process group that torchrun describes (or none), and leave it at the end.

    Args:
        device: As for ``choose_device``.

    Raises:
        ConfigError: a GPU is asked for and there is none.
    """
    chosen = choose_device(device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Ranks(0, 1, chosen)
        return
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_COLLECTIVE_TIMEOUT)
    try:
        yield Ranks(dist.get_rank(), world_size, chosen)
    finally:
        dist.destroy_process_group()
