"""The folder of a training that runs in processes of its own, and who may still be in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from trainer.build import load_experiment
from trainer.errors import ConfigError
from trainer.files import locked_folder

_FREE_WITHIN_S = 300.0
_LOOK_EVERY_S = 0.5


def folder_of(config: Path) -> Path:
    """Return where the checkpoints of the experiment in a YAML go."""
    loaded = load_experiment(config, [])
    return loaded.root / Path(loaded.config.train.save_dir).expanduser()


def free_folder(save_dir: Path) -> Iterator[str]:
    """Wait until nobody trains in a folder any more, and yield what is to be said meanwhile.

    Whoever started a trainer may have died; then the trainer saves what it has, and ends. One that
    takes longer than that is left for the next trainer to complain of.
    """
    if _is_free(save_dir):
        return
    yield f"another process trains in {save_dir}: waiting {_FREE_WITHIN_S:g} s at most"
    deadline = time.monotonic() + _FREE_WITHIN_S
    while not _is_free(save_dir) and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)


def _is_free(save_dir: Path) -> bool:
    try:
        with locked_folder(save_dir, ""):
            return True
    except ConfigError:
        return False
