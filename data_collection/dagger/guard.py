"""Which student drives the next round: finite, and not one that did worse than the one before."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from data_collection.dagger.records import RoundRecord
from trainer.checkpoint import Checkpoint, checkpoints_of, open_checkpoint
from trainer.errors import UserError

_log = logging.getLogger(__name__)


def choose_driver(folder: Path, records: Sequence[RoundRecord]) -> Checkpoint:
    """Return the newest student that was not set aside; the first one never is.

    Args:
        folder: The experiment's.
        records: Its rounds so far, oldest first.
    """
    chosen = next(record for record in reversed(records) if not record.set_aside)
    return open_checkpoint(folder / chosen.checkpoint)


def clean_student(run: Path, previous: Checkpoint | None) -> Checkpoint:
    """Return the newest checkpoint of a run whose weights are finite, else the previous student.

    Raises:
        UserError: There is none.
    """
    for checkpoint in checkpoints_of(run):
        if _is_finite(checkpoint):
            return open_checkpoint(checkpoint.folder)
        _log.warning(
            "%s holds NaN or infinite weights: refused, the newest clean one takes its place",
            checkpoint.folder,
        )
    if previous is None:
        raise UserError(
            f"{run}: training has left no student with finite weights; lower the learning rate or "
            "clip gradients (train.clip_grad_norm), and start in a new folder"
        )
    return previous


def does_worse(record: RoundRecord, before: RoundRecord) -> bool:
    """Return whether a round's student is worse than an earlier one on the same seeds.

    Worse means: its success rate lies below the earlier one's interval, or, where success does
    not tell them apart, its mean return lies two standard errors lower.
    """
    now, then = record.evaluation, before.evaluation
    if now.success_rate != then.success_rate:
        return now.success_rate < then.success_interval[0]
    return now.mean_return < then.mean_return - 2 * then.std_return / then.episodes**0.5


def set_aside_if_worse(record: RoundRecord, earlier: Sequence[RoundRecord], *, keep: bool) -> None:
    """Say so when a student does worse than the best driver so far, and mark it if ``keep``."""
    before = next((r for r in reversed(earlier) if not r.set_aside), None)
    if before is None or not does_worse(record, before):
        return
    record.set_aside = keep
    _log.warning(
        "round %d does worse than round %d on the same seeds: %s, after %s%s",
        record.round,
        before.round,
        record.evaluation,
        before.evaluation,
        f"; round {before.round} drives on" if keep else "",
    )


def _is_finite(checkpoint: Checkpoint) -> bool:
    return all(
        bool(torch.isfinite(value).all())
        for name in checkpoint.components()
        for value in checkpoint.component(name).values()
        if value.is_floating_point()
    )
