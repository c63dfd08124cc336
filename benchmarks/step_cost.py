"""What a train step of an experiment costs where it runs: time, memory, arithmetic, waiting."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from common import median
from torch.utils.flop_counter import FlopCounterMode

from trainer.build import build_run, load_experiment
from trainer.config import as_overrides
from trainer.distributed import Ranks
from trainer.loop import TrainLoop

PRODUCTS = 10


@dataclass(frozen=True)
class StepCost:
    """What a train step takes, on average over many.

    Attributes:
        samples: In its batch.
        seconds: From step to step, waiting included.
        waiting_s: Of these, until the batch is there.
        flop: Of its products of matrices and convolutions, forward and backward.
        peak_bytes: The most that tensors took on the GPU, resident data included; None without.
        host_syncs: How often the host waits for the GPU; None without one.
    """

    samples: int
    seconds: float
    waiting_s: float
    flop: float
    peak_bytes: int | None
    host_syncs: int | None


def measure_step(
    config: Path, settings: Mapping[str, object], device: torch.device, *, warm_up: int, steps: int
) -> StepCost:
    """Return the cost of the train step of an experiment on its own data.

    Args:
        config: The experiment's YAML.
        settings: Values to override in it.
        device: Where to train.
        warm_up: Steps before those that are timed.
        steps: How many are timed, between two synchronisations.
    """
    _forget(device)
    uncounted = 3  # the step that is counted, the one that is watched, and a last one to log
    total = {"train.steps": warm_up + steps + uncounted, "evaluation": None}
    run = build_run(load_experiment(config, as_overrides({**settings, **total})))
    run.policy.to(device)
    run.dataset.to_device(device)
    loop = TrainLoop(run, Ranks(0, 1, device))
    batches = map(run.dataset.__getitems__, loop.order.from_step(0, loop.total_steps))
    loop.set_training_mode()
    with FlopCounterMode(display=False) as counter:  # before compiling, which hides products
        loop.train_step(batches)
    loop.prepare()
    for _ in range(warm_up):
        loop.train_step(batches)
    host_syncs = _host_syncs(lambda: loop.train_step(batches)) if device.type == "cuda" else None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    waited_before = loop.meter.wait_s
    seconds = _seconds(lambda: [loop.train_step(batches) for _ in range(steps)], device)
    return StepCost(
        samples=run.config.data.batch_size,
        seconds=seconds / steps,
        waiting_s=(loop.meter.wait_s - waited_before) / steps,
        flop=counter.get_total_flops(),
        peak_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        host_syncs=host_syncs,
    )


def bf16_peak(device: torch.device, size: int) -> float:
    """Return FLOP a second of a bf16 product of two square matrices, the median of ten."""
    left, right = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    times = [_seconds(lambda: left @ right, device) for _ in range(PRODUCTS + 2)]
    return 2 * size**3 / median(times[2:])  # the first ones choose a kernel


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long ``work`` takes, on the GPU too."""
    _synchronize(device)
    start = time.perf_counter()
    work()
    _synchronize(device)
    return time.perf_counter() - start


def _host_syncs(work: Callable[[], object]) -> int:
    """Return how often ``work`` makes the host wait for the GPU, as far as torch knows."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _forget(device: torch.device) -> None:
    """Free what the step measured before this one left behind."""
    gc.collect()
    torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()
