"""The history of a run, made after it is sure that all of it will fit into memory."""

from __future__ import annotations

from bisect import bisect_right

import torch

from data_collection.distillation.console import megabytes
from data_collection.distillation.history import History, Layout
from data_collection.distillation.lessons import LessonPlan
from data_collection.distillation.row_ring import peak_rows
from data_collection.distillation.schema import DistillConfig
from trainer.config import Loaded
from trainer.errors import ConfigError
from trainer.interfaces import Policy
from trainer.memory import free_memory

_DTYPES = {"float32": torch.float32, "float16": torch.float16}

_SHARE = 0.95
"""Of what is free; the rest is for the environment and the student."""


def make_history(
    loaded: Loaded[DistillConfig], policy: Policy, plan: LessonPlan, device: torch.device
) -> History:
    """Return an empty history for what a student sees, does and remembers.

    Raises:
        ConfigError: A full one would not fit, or the policy contradicts itself about its memory.
    """
    config = loaded.config
    memory = policy.initial_state(1)
    if bool(memory) != plan.has_memory:
        raise ConfigError(
            f"{loaded.at('policy', 'type')}: {config.policy.type} has a memory and does not name "
            "episode_start in its needs, or the other way round"
        )
    carried = plan.has_memory and config.algorithm.memory == "carried"
    layout = Layout(
        config.interface.state,
        config.interface.action,
        {name: tuple(value.shape[1:]) for name, value in memory.items()} if carried else {},
        config.num_envs,
        config.steps_per_iteration,
    )
    dtype = _DTYPES[config.algorithm.storage_dtype]
    where = loaded.at("algorithm", "max_buffer_size")
    check_fits(plan.max_size, layout.block, layout.bytes_per_transition(dtype), device, where)
    return History(
        layout,
        max_size=plan.max_size,
        obs_steps=config.interface.obs_steps,
        context=plan.context,
        dtype=dtype,
        device=device,
    )


def check_fits(
    max_size: int, block: int, bytes_per_transition: int, device: torch.device, where: str
) -> None:
    """Raise ConfigError, with the size that fits, when the full history would not.

    Args:
        max_size: The most transitions that are kept.
        block: How many come at once.
        bytes_per_transition: The memory of each.
        device: Where.
        where: Begins the message.
    """
    free = free_memory(device)
    needed = peak_rows(max_size, block) * bytes_per_transition
    if needed > _SHARE * free:
        room = int(_SHARE * free / bytes_per_transition)
        sizes = range(block, room + 1, block)
        fits = block * bisect_right(sizes, room, key=lambda size: peak_rows(size, block))
        raise ConfigError(
            f"{where}: {max_size:,} transitions of {bytes_per_transition} bytes take "
            f"{megabytes(needed)} while the buffer grows, but {megabytes(free)} are free on "
            f"{device}; {fits:,} fit (or use storage_dtype: float16, or fewer environments)"
        )
