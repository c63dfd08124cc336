"""Start a run, or go on exactly where its newest checkpoint was saved."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from trainer.build import build_run
from trainer.checkpoint import (
    Checkpoint,
    leftovers,
    newest_checkpoint,
    open_checkpoint,
    resolve_checkpoint,
)
from trainer.config import Experiment, config_differences, load_config
from trainer.distributed import Ranks
from trainer.errors import CheckpointError, ConfigError
from trainer.files import locked_folder
from trainer.interfaces import Dataset
from trainer.loop import TrainLoop
from trainer.normalization import statistics_from_json
from trainer.run import CONFIG, NORMALIZATION, RESOLVED, Resolved, Run
from trainer.schema import ExperimentConfig

log = logging.getLogger(__name__)

_MAY_DIFFER = (
    "plugins",  # what they bring is compared where it is used
    "logging",
    "evaluation",
    "data.num_workers",
    "train.save_dir",
    "train.log_every",
    "train.checkpoints",
    "validation.every",
    "validation.max_samples",
)
"""What may be another value when a run goes on."""


@contextmanager
def started_run(
    experiment: Experiment,
    ranks: Ranks,
    resume: str,
    dataset: Dataset | None = None,
    length: str | None = None,
) -> Iterator[TrainLoop]:
    """Enter a run that is ready to train; its folder is locked until the end.

    Args:
        experiment: What to train.
        ranks: This process's place among the ranks.
        resume: ``auto`` (the newest checkpoint in ``save_dir``, if any), ``never``, or the folder
            of a checkpoint.
        dataset: Takes the place of the experiment's own data.
        length: The key that says how long a run is, where it is none of ``train``.

    Raises:
        ConfigError: the configuration differs from the one the checkpoint was trained with, or
            another process trains in the same folder.
        CheckpointError: a file of the checkpoint is missing or altered, or not all ranks see it.
    """
    save_dir = experiment.root / Path(experiment.config.train.save_dir).expanduser()
    # Locked before it is read: what another process still writes and prunes is nobody's to resume.
    with _locked(save_dir, ranks), _threads(experiment.config.train.threads):
        checkpoint = _checkpoint_to_resume(save_dir, resume)
        _refuse_different_starts(save_dir, checkpoint, ranks)
        loop = TrainLoop(_ready_run(experiment, ranks, checkpoint, dataset), ranks)
        if checkpoint:
            loop.restore(checkpoint)
            if ranks.is_main:
                log.info("%s", _where_it_stands(loop, checkpoint, length))
        yield loop


def _ready_run(
    experiment: Experiment, ranks: Ranks, checkpoint: Checkpoint | None, dataset: Dataset | None
) -> Run:
    """Return the run on its devices, checked against the checkpoint that it resumes from."""
    statistics = None
    if checkpoint:
        _refuse_differences(experiment, checkpoint)
        statistics = statistics_from_json(checkpoint.read_text(NORMALIZATION))
    run = build_run(experiment, statistics, dataset)
    if checkpoint:
        _refuse_other_components(run, checkpoint)
    run.policy.to(ranks.device)
    # Workers could not share what lies on a GPU.
    has_workers = experiment.config.data.num_workers > 0
    run.dataset.to_device(torch.device("cpu") if has_workers else ranks.device)
    return run


def _where_it_stands(loop: TrainLoop, checkpoint: Checkpoint, length: str | None) -> str:
    length = length or ("train.epochs" if loop.config.epochs is not None else "train.steps")
    if loop.finished:
        return (
            f"{checkpoint.folder} is at step {checkpoint.step}: this run is finished, nothing is "
            f"left to train; a larger {length} goes on"
        )
    return f"going on from {checkpoint.folder} (step {checkpoint.step})"


def _checkpoint_to_resume(save_dir: Path, resume: str) -> Checkpoint | None:
    newest = newest_checkpoint(save_dir)
    if resume == "auto":
        return open_checkpoint(newest.folder) if newest else None
    if resume == "never":
        if newest:
            raise ConfigError(
                f"--resume never: {newest.folder} exists and would be overwritten; move {save_dir} "
                "away, or choose another folder with --set train.save_dir=…"
            )
        return None
    chosen = resolve_checkpoint(Path(resume).expanduser())
    if newest and newest.progress > chosen.progress:
        raise ConfigError(
            f"--resume {resume} is at step {chosen.step}, but {newest.folder} is at step "
            f"{newest.step} and would be overwritten; choose another folder with "
            "--set train.save_dir=…"
        )
    return chosen


def _refuse_different_starts(save_dir: Path, checkpoint: Checkpoint | None, ranks: Ranks) -> None:
    """Raise CheckpointError on all ranks when one of them does not see what another one does."""
    name = int(checkpoint.weights_sha256[:15], 16) + 1 if checkpoint else 0
    extremes = torch.tensor([name, -name], device=ranks.device)
    high, low = ranks.all_reduce_max(extremes).tolist()
    if high != -low:
        mine = checkpoint.folder if checkpoint else "no checkpoint"
        raise CheckpointError(
            f"the ranks would not start from the same checkpoint: rank {ranks.rank} sees {mine}; "
            f"all machines must share {save_dir}, under the same path"
        )


def _refuse_differences(experiment: Experiment, checkpoint: Checkpoint) -> None:
    saved = load_config(checkpoint.folder / CONFIG, ExperimentConfig)
    before, now = saved.config.train, experiment.config.train
    may_differ: list[str] = list(_MAY_DIFFER)
    # What a length is counted in, and in step mode save_every, say what epoch_{N} means.
    if (before.epochs is None) == (now.epochs is None):
        may_differ += ["train.epochs", "train.steps"]
    if now.epochs is not None:
        may_differ.append("train.save_every")
    differences = config_differences(saved.resolved, experiment.resolved, may_differ)
    if differences:
        raise ConfigError(
            f"the configuration is not the one that {checkpoint.folder} was trained with:\n  "
            + "\n  ".join(differences)
            + "\nput these values back, or train from the start in another folder: a new expN, or "
            "--set train.save_dir=… (train.load_dir warm-starts it)"
        )


def _refuse_other_components(run: Run, checkpoint: Checkpoint) -> None:
    saved = load_config(checkpoint.folder / RESOLVED, Resolved).resolved
    now = run.resolved().model_dump(mode="json")
    differences = config_differences(saved, now, ignore=["architectures", "environment", "root"])
    if differences:
        raise ConfigError(
            f"the model files are not those that {checkpoint.folder} was trained with:\n  "
            + "\n  ".join(differences)
            + "\nput these values back, or train a new expN with its own model files, or with "
            "--set train.save_dir=…"
        )


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Compute with so many threads, with torch's own choice for None."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        if number is not None:  # the next run of a sweep is to have its own
            torch.set_num_threads(before)


@contextmanager
def _locked(save_dir: Path, ranks: Ranks) -> Iterator[None]:
    """Keep a second process from training in the same folder; clear what a crash left there."""
    if not ranks.is_main:
        yield
        return
    taken = (
        f"another process trains in {save_dir}; wait for it, stop it, or choose another "
        "folder with --set train.save_dir=…"
    )
    with locked_folder(save_dir, taken):
        for folder in leftovers(save_dir):
            shutil.rmtree(folder, ignore_errors=True)
        yield
