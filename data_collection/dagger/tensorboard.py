"""A DAgger experiment's curves and videos under the names that the course's exercise uses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_collection.dagger.records import RoundRecord
from trainer.loggers.tensorboard import TensorBoardLogger


def log_round(folder: Path, record: RoundRecord, earlier: Sequence[RoundRecord]) -> None:
    """Write a round to ``folder/tensorboard``; the step is the round's number.

    A round that is written twice, since the runner was killed in between, shows once.
    """
    logger = TensorBoardLogger(folder, start_step=record.round - 1)
    logger.log_scalars(record.round, scalars(record, earlier))
    for path in record.videos:
        logger.log_video(record.round, f"eval_rollouts/{Path(path).stem}", folder / path)
    logger.close()


def scalars(record: RoundRecord, earlier: Sequence[RoundRecord]) -> dict[str, float]:
    """Return the figures of a round by name.

    ``Eval_…`` are the trained student's episodes, ``Train_…`` those that were collected;
    ``Initial_DataCollection_AverageReturn`` is the first round's, in which teachers drive.
    """
    rounds = [*earlier, record]
    evaluation = record.evaluation
    values = {
        **_spread("Eval", evaluation.returns, evaluation.lengths),
        "Eval_SuccessRate": evaluation.success_rate,
        **_spread("Train", record.collected_returns, record.lengths),
        "Train_EnvstepsSoFar": sum(r.frames for r in rounds),
        "Train_LabelsSoFar": sum(r.labels for r in rounds),
        "TimeSinceStart": sum(sum(r.seconds.values()) for r in rounds),
        "Initial_DataCollection_AverageReturn": float(np.mean(rounds[0].collected_returns)),
    }
    if record.label_error is not None:
        values |= {f"LabelError_{name}": value for name, value in record.label_error.items()}
    return values


def _spread(prefix: str, returns: Sequence[float], lengths: Sequence[int]) -> dict[str, float]:
    return {
        f"{prefix}_AverageReturn": float(np.mean(returns)),
        f"{prefix}_StdReturn": float(np.std(returns)),
        f"{prefix}_MaxReturn": float(np.max(returns)),
        f"{prefix}_MinReturn": float(np.min(returns)),
        f"{prefix}_AverageEpLen": float(np.mean(lengths)),
    }
