"""Build everything an experiment names, show its sizes, and train nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import torch

from trainer.build import build_run
from trainer.config import Experiment
from trainer.errors import MissingDataError
from trainer.fake_data import FakeDataset
from trainer.interfaces import Batch, Progress
from trainer.optimization import NamedOptimizer, parameter_groups
from trainer.run import Run


def dry_run(experiment: Experiment, device: torch.device) -> None:
    """Print the parameter table and the shapes of a batch that went through ``compute_loss``.

    Where the data do not exist yet, a fake batch made from ``interface`` stands in, and that is
    said in the last line. Everything else is validated as for training.
    """
    missing: MissingDataError | None = None
    try:
        run = build_run(experiment, None)
    except MissingDataError as error:
        fake = FakeDataset(experiment.config.interface.to_interface())
        run = build_run(experiment, None, dataset=fake)
        missing = error
    batch = _first_batch(run, device)
    run.policy.to(device)
    groups = parameter_groups(run.policy, experiment.config.model.component_optims)
    NamedOptimizer(run.recipe, run.policy, groups).set_learning_rate(0, 1)
    generator = torch.Generator(device=device).manual_seed(0)
    with torch.no_grad():
        output = run.policy.compute_loss(batch, Progress(0, 1, generator))
    lines = [*_parameter_table(run), "", *_batch_table(batch)]
    lines.append(f"\nloss of this batch before training: {float(output.loss):.4g}")
    lines.append(f"checkpoints and logs would go to {run.save_dir}")
    if missing:
        lines.append(f"NOT checked against data: {missing}; the batch above is made from interface")
    sys.stdout.write("\n".join(lines) + "\n")


def _first_batch(run: Run, device: torch.device) -> Batch:
    rows = np.resize(run.training_samples, min(run.config.data.batch_size, 8))
    return {key: value.to(device) for key, value in run.dataset.__getitems__(rows).items()}


def _parameter_table(run: Run) -> Iterator[str]:
    yield f"{'component':<28}{'type':<28}{'trainable':>14}{'frozen':>14}{'MB':>10}"
    totals = np.zeros(3)
    for name, component in run.policy.components.items():
        trainable = sum(p.numel() for p in component.parameters() if p.requires_grad)
        frozen = sum(p.numel() for p in component.parameters() if not p.requires_grad)
        tensors = [*component.parameters(), *component.buffers()]
        megabytes = sum(t.numel() * t.element_size() for t in tensors) / 1e6
        totals += (trainable, frozen, megabytes)
        located = run.model_specs.get(name)  # a policy may add a copy of one
        kind = located.spec.type if located else type(component).__name__
        yield f"{name:<28}{kind:<28}{trainable:>14,}{frozen:>14,}{megabytes:>10.1f}"
    yield f"{'total':<56}{int(totals[0]):>14,}{int(totals[1]):>14,}{totals[2]:>10.1f}"


def _batch_table(batch: Batch) -> Iterator[str]:
    yield f"{'batch key':<36}{'shape':<28}{'dtype':<10}"
    for key, value in sorted(batch.items()):
        dtype = str(value.dtype).removeprefix("torch.")
        yield f"{key:<36}{tuple(value.shape)!s:<28}{dtype:<10}"
