"""Deletes the checkpoints that a run need not keep, and notes which one is the best."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

from trainer.checkpoint import BEST_NOTE, INTERRUPT, Checkpoint, checkpoints_of, delete_checkpoint
from trainer.files import write_text_atomically
from trainer.schema import BestConfig, CheckpointsConfig

_log = logging.getLogger(__name__)


def prune_checkpoints(save_dir: Path, config: CheckpointsConfig) -> None:
    """Delete the epochs that ``config`` does not keep, and interrupts that are behind them.

    Where it says which ones to keep, the newest one stays besides; where it says nothing, all do.
    While no epoch has the figure that the best one is chosen by, none is deleted; where they have
    others, that is said.
    """
    found = checkpoints_of(save_dir)
    epochs = [c for c in reversed(found) if c.folder.name == f"epoch_{c.epoch}"]
    newest = config.keep_last or (1 if config.keep_every or config.best else len(epochs))
    keep = {c.folder for c in epochs[-newest:]}
    if config.keep_every:
        keep |= {c.folder for c in epochs if c.epoch % config.keep_every == 0}
    if config.best is None:
        (save_dir / BEST_NOTE).unlink(missing_ok=True)  # of a start that chose one
    elif best := _best(epochs, config.best):
        keep.add(best.folder)
        note = {"checkpoint": best.folder.name, config.best.metric: _figure(best, config.best)}
        write_text_atomically(save_dir / BEST_NOTE, json.dumps(note) + "\n")
    else:
        keep |= {c.folder for c in epochs}
        if figures := sorted({name for epoch in epochs for name in epoch.metrics()}):
            _log.warning(
                "train.checkpoints.best: no checkpoint has the figure %r yet, so all are kept; "
                "there are: %s",
                config.best.metric,
                ", ".join(figures),
            )
    for checkpoint in epochs:
        if checkpoint.folder not in keep:
            delete_checkpoint(checkpoint.folder)
    for checkpoint in found:
        behind = epochs and checkpoint.progress <= epochs[-1].progress
        if checkpoint.folder.name == INTERRUPT and behind:
            delete_checkpoint(checkpoint.folder)


def _best(epochs: list[Checkpoint], config: BestConfig) -> Checkpoint | None:
    sign = -1.0 if config.mode == "min" else 1.0
    scored = [(value, c) for c in epochs if (value := _figure(c, config)) is not None]
    return max(scored, key=lambda pair: sign * pair[0])[1] if scored else None


def _figure(checkpoint: Checkpoint, config: BestConfig) -> float | None:
    """Return a checkpoint's figure; None where it has none, or none that compares with others."""
    value = checkpoint.metrics().get(config.metric)
    return value if value is not None and math.isfinite(value) else None
