"""Deletes the checkpoints that a run need not keep, and notes which one is the best."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from trainer.checkpoint import BEST_NOTE, INTERRUPT, Checkpoint, checkpoints_of, delete_checkpoint
from trainer.files import write_text_atomically
from trainer.schema import CheckpointsConfig

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
    if config.best and (best := _best(epochs, config)):
        keep.add(best.folder)
        note = {"checkpoint": best.folder.name, config.best.metric: _metric(best, config)}
        write_text_atomically(save_dir / BEST_NOTE, json.dumps(note) + "\n")
    figures = {name for epoch in epochs for name in epoch.metrics()}
    if config.best and config.best.metric not in figures:
        keep |= {c.folder for c in epochs}
        if figures:
            _log.warning(
                "train.checkpoints.best: no checkpoint has the figure %r yet, so all are kept; "
                "there are: %s",
                config.best.metric,
                ", ".join(sorted(figures)),
            )
    for checkpoint in epochs:
        if checkpoint.folder not in keep:
            delete_checkpoint(checkpoint.folder)
    for checkpoint in found:
        behind = epochs and checkpoint.progress <= epochs[-1].progress
        if checkpoint.folder.name == INTERRUPT and behind:
            delete_checkpoint(checkpoint.folder)


def _best(epochs: list[Checkpoint], config: CheckpointsConfig) -> Checkpoint | None:
    sign = -1.0 if config.best and config.best.mode == "min" else 1.0
    scored = [(value, c) for c in epochs if (value := _metric(c, config)) is not None]
    return max(scored, key=lambda pair: sign * pair[0])[1] if scored else None


def _metric(checkpoint: Checkpoint, config: CheckpointsConfig) -> float | None:
    if config.best is None:
        return None
    return checkpoint.metrics().get(config.best.metric)
