"""On-line distillation on a GPU: its speed, and where the host waits for the device.

python benchmarks/distillation_gpu.py [--json FILE] [--quick] [--only WORDS] [--profile FILE]

Shipped experiments of point_ctrl with more environments; these, the student, the teacher and the
history are all on the GPU. Waits of the host are those that torch's sync debug mode reports: from
the first to the last environment step of one iteration, from its first to its last learning step,
and in all of it. Without a GPU only --quick runs, on the CPU, where nothing waits.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from common import Row, parser, report, versions
from torch.profiler import profile

from data_collection.distillation.launch import enter_distillation
from data_collection.distillation.progress_report import ProgressReport
from data_collection.distillation.runner import DistillationRunner
from data_collection.distillation.student import load_distillation
from trainer.distributed import Ranks, choose_device
from trainer.review import Reviewer

EXPERIMENTS = Path(__file__).parents[1] / "experiment_training" / "distillation" / "point_ctrl"
ITERATIONS = 10_000
"""Of a run, which is never finished."""
WARM_UP = 3
STORED_BLOCKS = 8
"""At least so many iterations fit into the history."""
PROFILED = "exp2, 4,096 environments"
TABLE_ROWS = 30
RUNTIME_CALLS = (
    "cudaLaunchKernel",
    "cudaMemcpyAsync",
    "cudaStreamSynchronize",
    "cudaEventSynchronize",
    "cudaDeviceSynchronize",
)


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    experiment: str
    envs: int
    teacher_acts: bool = False


CASES = (
    Case("exp2, 100 environments", "exp2", 100),
    Case(PROFILED, "exp2", 4096),
    Case("exp2, 4,096 environments, the teacher acts", "exp2", 4096, teacher_acts=True),
    Case("exp2, 16,384 environments", "exp2", 16384),
    Case("exp1, 4,096 environments", "exp1", 4096),
)


def main(arguments: Sequence[str]) -> None:
    """Measure all cases and report."""
    options = parser("On-line distillation on a GPU.")
    options.add_argument("--profile", type=Path, metavar="FILE", help=f"a profile of {PROFILED}")
    args = options.parse_args(arguments)
    device = choose_device("auto")
    if device.type == "cpu":
        if not args.quick:
            sys.exit("torch sees no GPU; --quick runs this on the CPU, to check it")
        sys.stderr.write("torch sees no GPU: these figures are the CPU's, of 20 environments\n")
        torch.set_num_threads(1)
    used = versions("torch", "tensordict") | {"device": _name(device)}
    seconds = 0.0 if args.quick else 5.0
    cases = [case for case in CASES if args.only in case.name]
    report([measure(case, device, seconds, args.profile) for case in cases], used, args.json)


def measure(case: Case, device: torch.device, seconds: float, profile_file: Path | None) -> Row:
    """Return the row of a case, which runs for so long and at least for two iterations."""
    gc.collect()  # what the case before had on the device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with distilling(case, device) as (runner, reviewer):
        progress = ProgressReport(runner)
        for _ in range(WARM_UP):
            runner.iterate()
            progress.review(reviewer)
        before = dict(runner.seconds_in_all)
        first, start = runner.iteration, time.perf_counter()
        while runner.iteration < first + 2 or time.perf_counter() - start < seconds:
            runner.iterate()
            progress.review(reviewer)
        whole = time.perf_counter() - start
        steps = (runner.iteration - first) * runner.config.block
        spent = {name: s - before[name] for name, s in runner.seconds_in_all.items()}
        row: Row = {
            "name": case.name,
            "steps/s": round(steps / whole),
            "collection/s": round(steps / spent["collection"]),
            "learning/s": round(steps / spent["learning"]),
            "iterations": runner.iteration - first,
        }
        if device.type == "cuda":
            row["peak MB"] = round(torch.cuda.max_memory_allocated(device) / 1e6)
            row |= waits(runner)
        if profile_file is not None and case.name == PROFILED:
            profile_file.write_text(profiled(runner))
    return row


@contextmanager
def distilling(case: Case, device: torch.device) -> Iterator[tuple[DistillationRunner, Reviewer]]:
    """Enter the distillation of a case, which logs as the shipped one does."""
    path = EXPERIMENTS / case.experiment / "distillation.yaml"
    envs = case.envs if device.type == "cuda" else 20
    block = envs * load_distillation(path).config.steps_per_iteration
    with tempfile.TemporaryDirectory() as folder:
        values = {
            "num_envs": envs,
            "iterations": ITERATIONS,
            "algorithm.use_two_stage_training": case.teacher_acts,
            "algorithm.phase1_iterations": ITERATIONS - 1,
            "algorithm.max_buffer_size": max(1_000_000, STORED_BLOCKS * block),
            "evaluation": None,
            "train.save_dir": folder,
            "train.device": device.type,
        }
        overrides = [f"{key}={json.dumps(value)}" for key, value in values.items()]
        ranks = Ranks(0, 1, device)
        with (
            enter_distillation(load_distillation(path, overrides), ranks) as runner,
            Reviewer(runner.loop.run, ranks, dict, 0) as reviewer,
        ):
            runner.loop.prepare()
            yield runner, reviewer


def waits(runner: DistillationRunner) -> Row:
    """Return how often the host waits for the GPU: in the steps, and in a whole iteration."""
    columns: Row = {}
    for what in ("environment", "learning"):
        with reported_waits() as found:
            between_steps(
                runner,
                what,
                lambda: torch.cuda.set_sync_debug_mode("warn"),
                lambda: torch.cuda.set_sync_debug_mode("default"),
            )
        columns[f"waits, {what} steps"] = len(found)
    return columns | {"waits, iteration": sum(places_of_waits(runner).values())}


def places_of_waits(runner: DistillationRunner) -> Counter[str]:
    """Return the lines of code that wait for the GPU in an iteration, and how often each does."""
    with reported_waits() as found:
        torch.cuda.set_sync_debug_mode("warn")
        runner.iterate()
        torch.cuda.set_sync_debug_mode("default")
    return Counter(f"{Path(each.filename).name}:{each.lineno}" for each in found)


@contextmanager
def reported_waits() -> Iterator[list[warnings.WarningMessage]]:
    """Give a list that holds, at the end, what torch's sync debug mode has reported."""
    found: list[warnings.WarningMessage] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield found
    found += [each for each in caught if "called a synchronizing" in str(each.message)]


def profiled(runner: DistillationRunner) -> str:
    """Return what the profiler says of an iteration's environment steps and learning steps."""
    device = runner.ranks.device
    parts = [f"{PROFILED}, on {_name(device)}\n"]
    if device.type == "cuda":
        parts.append("\nWhere the host waits in one iteration, all of it outside the steps:\n")
        parts += [f"{count} x {place}\n" for place, count in places_of_waits(runner).items()]
    for what in ("environment", "learning"):
        profiler = profile()  # of the GPU as well, where there is one
        steps = between_steps(runner, what, profiler.start, profiler.stop)
        events = profiler.key_averages()
        calls = {event.key: event.count for event in events}
        parts.append(f"\n{steps} {what} steps, and all between them\n")
        parts += [f"{name}: {calls.get(name, 0)}\n" for name in RUNTIME_CALLS]
        parts += [f"{key}: {count}\n" for key, count in calls.items() if key.startswith("Memcpy")]
        order = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
        parts.append(events.table(sort_by=order, row_limit=TABLE_ROWS))
    parts.append("\nOne cudaDeviceSynchronize of each is the profiler's own, at its end.\n")
    return "".join(parts)


def between_steps(
    runner: DistillationRunner, what: str, begin: Callable[[], None], end: Callable[[], None]
) -> int:
    """Do one iteration, and return how many steps there were between ``begin`` and ``end``.

    Args:
        runner: Does it.
        what: Which steps: ``environment`` or ``learning``.
        begin: Called before the first of them.
        end: Called before the last of them.
    """
    owner, method, last = {
        "environment": (runner.collector.env, "step", runner.config.steps_per_iteration - 1),
        "learning": (runner.loop, "train_step", runner.lessons.plan.batches(0) - 1),
    }[what]
    original = getattr(owner, method)
    done = 0

    def step(*arguments: object) -> object:
        nonlocal done
        if done == 0:
            begin()
        elif done == last:
            end()
        done += 1
        return original(*arguments)

    setattr(owner, method, step)
    runner.iterate()
    delattr(owner, method)
    return last


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


if __name__ == "__main__":
    main(sys.argv[1:])
