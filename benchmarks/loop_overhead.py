"""What the whole trainer costs over a bare torch loop.

python benchmarks/loop_overhead.py [--json FILE] [--quick] [--only WORDS]

The trainer is what ``offline_trainer.py`` runs: data set, sampler, augmentations, loop, guard,
meter, progress bar, loggers. The bare loop has the same policy and optimizer, clipping, finite
check and schedule, and trains on one resident batch. They take turns of one logging interval.
"""

from __future__ import annotations

import contextlib
import copy
import io
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from common import Row, median, parser, report, versions
from rounds import write_round
from synthetic import Content

from trainer.build import build_run, load_experiment
from trainer.config import Experiment
from trainer.distributed import Ranks
from trainer.interfaces import Augmentation, Batch, Progress
from trainer.loop import TrainLoop
from trainer.optimization import parameter_groups
from trainer.run import Run

EXPERIMENTS = Path(__file__).parents[1] / "experiment_training" / "imitation_learning"
CPU = torch.device("cpu")
WARM_UP_TURNS = 2


@dataclass(frozen=True)
class Case:
    """An experiment, and what of it is set otherwise."""

    name: str
    experiment: str
    overrides: tuple[str, ...]


CASES = (
    Case(
        "state MLP 1024x1024, batch 64",
        "behavior_cloning/exp1/behavior_cloning.yaml",
        (
            "interface={chunk: 1, control_hz: 20, state: 23, action: 7}",
            "data.batch_size=64",
            "model.component_build_args="
            "{observation_encoder: {dim: 64, hidden: 64}, trunk: {inputs: 64, width: 1024},"
            " action_head: {features: 1024}}",
        ),
    ),
    Case(
        "quick start, batch 256",
        "naive_flow_matching_policy/exp3/naive_flow_matching_policy.yaml",
        ("data.batch_size=256",),
    ),
    Case(
        "three 64x64 cameras, batch 32",
        "naive_flow_matching_policy/exp5/naive_flow_matching_policy.yaml",
        ("data.batch_size=32",),
    ),
)


def main(arguments: Sequence[str]) -> None:
    """Measure all cases and report."""
    options = parser("What the whole trainer costs over a bare torch loop.")
    args = options.parse_args(arguments)
    torch.set_num_threads(1)
    turns, turn_steps = (2, 4) if args.quick else (20, 50)
    rows = [measure(case, turns, turn_steps) for case in CASES if args.only in case.name]
    report(rows, versions("torch", "numpy"), args.json)


def measure(case: Case, turns: int, turn_steps: int) -> Row:
    """Return the row of a case: samples a second of both loops, and the median ratio of a turn."""
    steps = (WARM_UP_TURNS + turns) * turn_steps
    with tempfile.TemporaryDirectory() as folder:
        run = build_run(_experiment(case, Path(folder), steps, turn_steps))
        bare = BareLoop(run, steps)
        pauses = Pauses(bare, turn_steps)
        loop = TrainLoop(replace(run, augmentations=[*run.augmentations, pauses]), Ranks(0, 1, CPU))
        with contextlib.redirect_stderr(io.StringIO()):  # the progress bar
            loop.train()
    whole, bare_s = pauses.trainer_s[WARM_UP_TURNS:], pauses.bare_s[WARM_UP_TURNS:]
    samples = run.config.data.batch_size * turn_steps
    return {
        "name": case.name,
        "ratio": round(median([b / w for b, w in zip(bare_s, whole, strict=True)]), 4),
        "trainer samples/s": round(samples / median(whole), 1),
        "bare samples/s": round(samples / median(bare_s), 1),
        "turns": len(whole),
    }


class BareLoop:
    """The train step without a trainer, on a copy of the policy and one resident batch."""

    def __init__(self, run: Run, total_steps: int) -> None:
        self.policy = copy.deepcopy(run.policy).train()
        self.batch = run.dataset.__getitems__(range(run.config.data.batch_size))
        self.recipe = run.recipe
        self.optimizer = run.recipe.build(
            parameter_groups(self.policy, run.config.model.component_optims)
        )
        self.max_norm = run.config.train.clip_grad_norm or math.inf
        self.generator = torch.Generator().manual_seed(0)
        self.step, self.total_steps = 0, total_steps

    def train(self, steps: int) -> None:
        """Take so many steps; raise when a gradient is not finite."""
        for _ in range(steps):
            progress = Progress(self.step, self.total_steps, self.generator)
            self.policy(self.batch, progress).loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_norm)
            if not math.isfinite(norm):
                raise FloatingPointError("the bare loop diverged")
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.learning_rate(self.step, self.total_steps)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.step += 1


class Pauses(Augmentation):
    """Changes no batch, but lets the bare loop take its turn after each turn of the trainer's."""

    def __init__(self, bare: BareLoop, turn_steps: int) -> None:
        self.bare = bare
        self.turn_steps = turn_steps
        self.trainer_s: list[float] = []
        self.bare_s: list[float] = []
        self._calls = 0
        self._since = time.perf_counter()

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the same batch."""
        self._calls += 1
        if self._calls % self.turn_steps == 0:
            paused = time.perf_counter()
            self.bare.train(self.turn_steps)
            resumed = time.perf_counter()
            self.trainer_s.append(paused - self._since)
            self.bare_s.append(resumed - paused)
            self._since = resumed
        return batch


def _experiment(case: Case, folder: Path, steps: int, log_every: int) -> Experiment:
    """Return the experiment of a case on a made-up round in ``folder``, not evaluated."""
    overrides = [
        *case.overrides,
        f"data.dataset.params.rounds=[{folder / 'round'}]",
        f"train.save_dir={folder / 'run'}",
        f"train.steps={steps}",
        f"train.save_every={steps}",
        f"train.log_every={log_every}",
        "evaluation=null",
    ]
    experiment = load_experiment(EXPERIMENTS / case.experiment, overrides)
    interface = experiment.config.interface
    cameras = {name: (height, width) for name, (_, height, width) in interface.cameras.items()}
    content = Content(20, 100, interface.state, interface.action, cameras)
    write_round(folder / "round", content)
    return experiment


if __name__ == "__main__":
    main(sys.argv[1:])
