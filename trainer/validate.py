"""Loss and action error on episodes that training never sees, with the same noise every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trainer.interfaces import ACTION, ACTION_IS_PAD, Batch, Policy, Progress, Scorer
from trainer.schema import InterfaceConfig, ValidationConfig
from trainer.seeding import stream_seed

if TYPE_CHECKING:
    from trainer.run import Run


@torch.no_grad()
def validate(policy: Policy, run: Run, config: ValidationConfig) -> dict[str, float]:
    """Return the validation loss and the mean absolute error of *sampled* actions, real units.

    Keys: ``validation/loss``, ``validation/action_mae``, ``validation/action_mae_dim_{a}`` (per
    action dimension) and ``validation/action_mae_step_{h}`` (per step of the chunk); of a scorer,
    which does not act, the loss alone. At most ``max_samples`` evenly spaced samples are used;
    their noise depends on nothing but the seed.
    """
    device = next(policy.parameters()).device
    chosen = np.unique(
        np.linspace(0, len(run.validation_samples) - 1, config.max_samples).astype(np.int64)
    )
    samples = run.validation_samples[chosen]
    loss_generator = torch.Generator(device=device).manual_seed(
        stream_seed(run.config.seed, "validation_loss")
    )
    progress = Progress(0, 1, loss_generator)
    weighted_loss = weight = torch.zeros((), device=device)
    error_ha = torch.zeros((), device=device)
    count_ha = torch.zeros((), device=device)
    for start in range(0, len(samples), run.config.data.batch_size):
        rows = samples[start : start + run.config.data.batch_size]
        batch = {k: v.to(device) for k, v in run.dataset.__getitems__(rows).items()}
        output = policy.compute_loss(batch, progress)
        weighted_loss = weighted_loss + output.loss * output.weight
        weight = weight + output.weight
        if not isinstance(policy, Scorer):
            seeds = [stream_seed(run.config.seed, "validation_action", int(row)) for row in rows]
            error, count = _absolute_error(sampled_errors(policy, batch, seeds), batch)
            error_ha, count_ha = error_ha + error, count_ha + count
    figures = {"validation/loss": weighted_loss / weight}
    if not isinstance(policy, Scorer):
        figures |= _error_figures(error_ha, count_ha)
    return {name: float(value) for name, value in figures.items()}


def validation_figures(interface: InterfaceConfig, *, acts: bool) -> list[str]:
    """Return the names of all that ``validate`` gives; a scorer does not act."""
    if not acts:
        return ["validation/loss"]
    return [
        "validation/loss",
        "validation/action_mae",
        *(f"validation/action_mae_dim_{a}" for a in range(interface.action)),
        *(f"validation/action_mae_step_{h}" for h in range(interface.chunk)),
    ]


def _error_figures(error_ha: Tensor, count_ha: Tensor) -> dict[str, Tensor]:
    """Return the mean absolute error, also by dimension and by step of the chunk."""
    figures = {"validation/action_mae": error_ha.sum() / count_ha.sum()}
    for a, value in enumerate(error_ha.sum(0) / count_ha.sum(0).clamp(min=1)):
        figures[f"validation/action_mae_dim_{a}"] = value
    for h, value in enumerate(error_ha.sum(1) / count_ha.sum(1).clamp(min=1)):
        figures[f"validation/action_mae_step_{h}"] = value
    return figures


def sampled_errors(policy: Policy, batch: Batch, seeds: Sequence[int]) -> Tensor:
    """Return (B, H, A) the sampled minus the recorded actions, real units; a seed for each row."""
    observation = {k: v for k, v in batch.items() if k not in (ACTION, ACTION_IS_PAD)}
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    action, _ = policy.predict_action(observation, policy.initial_state(len(seeds)), generators)
    return action - batch[ACTION]


def _absolute_error(error_bha: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the summed absolute error and the count of valid steps, both (H, A)."""
    valid = ~batch[ACTION_IS_PAD][..., None].expand_as(error_bha)
    return torch.where(valid, error_bha.abs(), 0.0).sum(0), valid.float().sum(0)
