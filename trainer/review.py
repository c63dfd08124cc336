"""What happens between epochs: figures are logged, the acting weights validated and evaluated."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from trainer.build import build_loggers
from trainer.checkpoint import METRICS, record_metrics
from trainer.distributed import Ranks
from trainer.evaluate import evaluate_in_training
from trainer.interfaces import Logger, Policy
from trainer.pruning import prune_checkpoints
from trainer.run import Run
from trainer.validate import validate

_PICTURED_SAMPLES = 128

ActingComponents = Callable[[], Mapping[str, Mapping[str, Tensor]]]


class Reviewer:
    """Logs on rank 0, and judges a *copy* of the policy that carries the acting weights.

    Nothing here touches the training policy, its mode, or a random generator of the training, so
    that a run's bits do not depend on how often it is reviewed.
    """

    def __init__(
        self, run: Run, ranks: Ranks, acting: ActingComponents, start_step: int | None
    ) -> None:
        self.run = run
        self.ranks = ranks
        self.acting = acting
        self.start_step = start_step
        self.metrics: dict[str, float] = {}
        self._loggers: list[Logger] = []
        self._copy: Policy | None = None

    def __enter__(self) -> Reviewer:
        """Open the loggers, on rank 0."""
        if self.ranks.is_main:
            self._loggers = build_loggers(self.run, self.start_step)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the loggers."""
        for logger in self._loggers:
            logger.close()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Hand figures to every logger."""
        for logger in self._loggers:
            logger.log_scalars(step, values)

    def review(self, step: int, epoch: int, *, last: bool) -> None:
        """Validate and evaluate on rank 0 where this epoch is due; the last epoch always is."""
        self.metrics = {}
        if not self.ranks.is_main:
            return
        validation, evaluation = self.run.config.validation, self.run.config.evaluation
        if validation and (last or epoch % validation.every == 0):
            self.metrics |= validate(self.acting_policy(), self.run, validation)
        if evaluation and evaluation.every and (last or epoch % evaluation.every == 0):
            figures, videos = evaluate_in_training(self.acting_policy(), self.run, epoch)
            self.metrics |= figures
            for video in videos:
                for logger in self._loggers:
                    logger.log_video(step, f"evaluation/{video.stem}", video)
        if self.metrics:
            self.log(step, self.metrics)
            self._show_pictures(step)

    def record(self, epoch: int) -> None:
        """Write the figures of the last review beside the epoch's checkpoint."""
        if self.ranks.is_main:
            record_metrics(self.run.save_dir / f"epoch_{epoch}", self.metrics)

    def catch_up(self, step: int, epoch: int, *, last: bool) -> None:
        """Do the review and the pruning that a crash prevented after ``epoch`` was saved."""
        if not self.ranks.is_main:
            return
        folder = self.run.save_dir / f"epoch_{epoch}"
        if epoch and folder.exists() and not (folder / METRICS).exists():
            self.review(step, epoch, last=last)
            self.record(epoch)
        # Also where only the pruning is missing: after the last epoch nothing else would do it.
        prune_checkpoints(self.run.save_dir, self.run.config.train.checkpoints)

    @torch.no_grad()
    def _show_pictures(self, step: int) -> None:
        """Log what the policy shows of itself on evenly spaced training samples."""
        policy, samples = self.acting_policy(), self.run.training_samples
        chosen = np.linspace(0, len(samples) - 1, min(_PICTURED_SAMPLES, len(samples)))
        batch = self.run.dataset.__getitems__(samples[chosen.astype(np.int64)])
        batch = {key: value.to(self.ranks.device) for key, value in batch.items()}
        for name, picture in policy.pictures(batch).items():
            for logger in self._loggers:
                logger.log_image(step, f"policy/{name}", picture)

    def acting_policy(self) -> Policy:
        """Return the copy of the policy, with the weights to act with at this moment."""
        if self._copy is None:
            self._copy = copy.deepcopy(self.run.policy)
            self._copy.requires_grad_(False)
            self._copy.eval()
        # On-line, statistics change while a policy is trained.
        self._copy.normalizer = copy.deepcopy(self.run.policy.normalizer)
        for name, state in self.acting().items():
            self._copy.components[name].load_state_dict(state)
        return self._copy
