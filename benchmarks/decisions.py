"""How long each shipped policy takes to decide: ``predict_action`` for one robot on one thread.

python benchmarks/decisions.py [--json FILE] [--quick] [--only WORDS]

Weights are random and observations made up: neither changes the arithmetic. A policy that
integrates is also timed with fewer steps than its YAML says.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from common import Row, median, parser, report, versions
from integration import integration_steps, set_integration_steps

from trainer.build import build_run, load_experiment
from trainer.fake_data import FakeDataset
from trainer.interfaces import Batch, Policy, Scorer
from trainer.planner import acting

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "experiment_training" / "imitation_learning"
FEWER_STEPS = (1, 2, 5)


def main(arguments: Sequence[str]) -> None:
    """Measure and report."""
    args = parser("Milliseconds a decision of every shipped policy.").parse_args(arguments)
    torch.set_num_threads(1)
    decisions = 2 if args.quick else 20
    rows: list[Row] = []
    for path in sorted(EXPERIMENTS.glob("*/exp*/*.yaml")):
        name = "/".join(path.parts[-3:-1])
        if args.only in name:
            rows += rows_of(name, path, decisions)
    report(rows, versions("torch"), args.json)


def rows_of(name: str, path: Path, decisions: int) -> Iterator[Row]:
    """Yield a row for each number of integration steps; none for what does not act."""
    experiment = load_experiment(path)
    data = FakeDataset(experiment.config.interface.to_interface(), episodes=1)
    run = build_run(experiment, dataset=data)
    if isinstance(run.policy, Scorer):
        return
    policy, observation = run.policy.eval(), data.__getitems__([0])
    parameters = sum(p.numel() for p in policy.parameters())
    own = integration_steps(policy)
    for steps in (own, *(n for n in FEWER_STEPS if own and n < own)):
        if steps:
            set_integration_steps(policy, steps)
        yield {
            "name": f"{name}, {steps} step{'s' * (steps > 1)}" if steps else name,
            "ms": round(1000 * seconds_a_decision(policy, observation, decisions), 2),
            "million parameters": round(parameters / 1e6, 2),
        }


def seconds_a_decision(policy: Policy, observation: Batch, decisions: int) -> float:
    """Return the median time of a decision."""
    state, generators = policy.initial_state(1), [torch.Generator().manual_seed(0)]
    times = []
    with acting(policy):
        for _ in range(decisions + 1):
            start = time.perf_counter()
            policy.predict_action(observation, state, generators)
            times.append(time.perf_counter() - start)
    return median(times[1:])  # the first one makes caches


if __name__ == "__main__":
    main(sys.argv[1:])
