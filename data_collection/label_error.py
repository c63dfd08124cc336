"""How far a student is from the labels in recorded states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from trainer.acting import SavedPolicy
from trainer.planner import acting
from trainer.registry import datasets
from trainer.seeding import stream_seed
from trainer.signature import build
from trainer.validate import sampled_errors

_BATCH = 64


def label_errors(saved: SavedPolicy, round_folder: Path, *, samples: int = 1000) -> np.ndarray:
    """Return (N, A) the student's next action minus the label, in action units.

    Args:
        saved: The student.
        round_folder: A sealed round, whose labelled states are asked about.
        samples: At most so many states, evenly spaced over the round.

    Raises:
        DataError: The round is damaged, or has other shapes than the student wants.
    """
    config = saved.config
    params = config.data.dataset.params | {"rounds": [str(round_folder.resolve())], "cache": "none"}
    # They were made for other rounds.
    for choice in ("round_weights", "episode_scores", "only_successes", "episodes"):
        params.pop(choice, None)
    dataset = build(
        datasets,
        config.data.dataset.model_copy(update={"params": params}),
        f"data.dataset of {saved.checkpoint}",
        {"interface": config.interface.to_interface(), "root": saved.root},
    )
    chosen = np.unique(np.linspace(0, len(dataset) - 1, samples).astype(np.int64))
    device = next(saved.policy.parameters()).device
    errors = []
    for start in range(0, len(chosen), _BATCH):
        rows = chosen[start : start + _BATCH]
        batch = {key: value.to(device) for key, value in dataset.__getitems__(rows).items()}
        seeds = [stream_seed(config.seed, "label_error", int(row)) for row in rows]
        with acting(saved.policy):
            errors.append(sampled_errors(saved.policy, batch, seeds)[:, 0])
    return torch.cat(errors).double().cpu().numpy()


def root_mean_square(errors_na: np.ndarray) -> float:
    """Return the root of the mean over all states and action dimensions."""
    return float(np.sqrt(np.mean(np.square(errors_na))))
