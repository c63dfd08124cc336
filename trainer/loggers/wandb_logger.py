"""Weights & Biases, an optional extra: ``pip install offline-trainer[wandb]``."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from trainer.errors import ConfigError, UserError
from trainer.files import write_text_atomically
from trainer.interfaces import Logger
from trainer.registry import loggers

_STEP = "step"


@loggers.register("wandb_logger")
class WandbLogger(Logger):
    """Writes scalars, pictures and videos to one W&B run for each ``save_dir``.

    A resumed run goes on in the same W&B run. The optimizer step is a figure of its own, against
    which all others are drawn: W&B's own counter could not go back to a checkpoint's step.

    Args:
        save_dir: Folder of the run; its last two parts name it, and what W&B writes goes there.
        project: W&B's project.
        entity: User or team; None for the account's own.
        mode: ``offline`` needs no account; ``wandb sync`` uploads later. None: as the environment
            variable ``WANDB_MODE`` says, otherwise ``online``.

    Raises:
        ConfigError: The package is missing.
        UserError: W&B cannot start, for want of a login or a connection.
    """

    def __init__(
        self,
        save_dir: Path,
        *,
        project: str,
        entity: str | None = None,
        mode: Literal["online", "offline"] | None = None,
    ) -> None:
        try:
            import wandb  # here: it takes a second, and only rank 0 logs
        except ModuleNotFoundError as error:
            raise ConfigError(
                "logging: wandb_logger needs the package wandb; install offline-trainer[wandb]"
            ) from error
        online = (mode or os.environ.get("WANDB_MODE") or "online") == "online"
        id_file = save_dir / "wandb_run_id.txt"
        run_id = id_file.read_text() if id_file.exists() else secrets.token_hex(4)
        try:
            self._run = wandb.init(
                project=project,
                entity=entity,
                name="/".join(save_dir.parts[-2:]),
                id=run_id,
                resume="allow" if online else None,
                dir=save_dir,
                mode=mode,
                settings=wandb.Settings(console="off", silent=True),
            )
        except wandb.Error as error:
            raise UserError(
                f"logging: W&B does not start: {error}; log in (wandb login), or log with "
                "mode: offline or WANDB_MODE=offline"
            ) from error
        write_text_atomically(id_file, run_id)
        self._run.define_metric(_STEP, hidden=True)
        self._run.define_metric("*", step_metric=_STEP)

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write the figures of a step."""
        self._run.log({_STEP: step, **values})

    def log_image(self, step: int, name: str, image_hwc: np.ndarray) -> None:
        """Write a picture."""
        import wandb

        self._run.log({_STEP: step, name: wandb.Image(image_hwc)})

    def log_video(self, step: int, name: str, path: Path) -> None:
        """Write an MP4 as it is."""
        import wandb

        self._run.log({_STEP: step, name: wandb.Video(str(path), format="mp4")})

    def close(self) -> None:
        """Flush, and end W&B's process."""
        self._run.finish()
