"""From a configuration to a finished distillation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from data_collection.distillation.online_data import OnlineData
from data_collection.distillation.runner import DistillationRunner
from data_collection.distillation.schema import DistillConfig
from data_collection.distillation.setting import make_setting
from data_collection.distillation.student import (
    plan_lessons,
    refuse_differences,
    student_experiment,
)
from data_collection.distillation.vec_env import VecEnv
from trainer.config import Loaded
from trainer.distributed import Ranks
from trainer.resume import started_run


@contextmanager
def enter_distillation(
    loaded: Loaded[DistillConfig], ranks: Ranks, resume: str = "auto", env: VecEnv | None = None
) -> Iterator[DistillationRunner]:
    """Enter a distillation that is ready to run; its folder is locked until the end.

    Args:
        loaded: What to do.
        ranks: This process's place among the ranks.
        resume: As for ``trainer.resume.started_run``.
        env: Takes the place of the configuration's environment, such as one of Isaac Lab that is
            wrapped for RSL-RL; without an evaluation, which would make environments of its own.

    Raises:
        ConfigError: Something does not fit; nothing has been trained or overwritten then.
        CheckpointError: The teacher's checkpoint, or the one to resume, cannot be used.
    """
    refuse_differences(loaded, resume)
    plan = plan_lessons(loaded)
    setting = make_setting(loaded, ranks, env)
    experiment = student_experiment(loaded, plan)
    data = OnlineData(loaded.config.interface.to_interface())
    with started_run(experiment, ranks, resume, data, length="iterations") as loop:
        yield DistillationRunner(loaded, plan, setting, loop, ranks)
