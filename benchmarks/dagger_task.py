"""What both sides of ``dagger_round.py`` share. Needs numpy alone; see ``contestants.py``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

ENVIRONMENT = "HalfCheetah-v5"
WORKERS = 2


@dataclass(frozen=True)
class DaggerTask:
    """What a contestant of ``dagger_round.py`` is to do, and with what."""

    folder: str
    """Where its rounds go."""
    expert: str
    """The expert, as a course pickle."""
    network: str
    """The arrays of the same expert, for those who cannot read the pickle: ``.npz``."""
    environments: int
    """How many are stepped together, in each of this project's workers and in all for others."""
    stepping: Literal["serial", "processes"]
    first_rollouts: int
    """Of round 0, which the expert drives."""
    rollouts: int
    """Of every later round, which the student drives."""
    train_steps: int

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> DaggerTask:
        """Return the task that ``to_argument`` wrote on a contestant's command line."""
        return cls(**json.loads(arguments[0]))

    def to_argument(self) -> str:
        """Return the task as JSON."""
        return json.dumps(asdict(self))


def round_figures(
    folder: Path, *, rollouts: int, steps: int, seconds: float, array_bytes: int
) -> dict[str, float]:
    """Return the answer about a collected round; ``folder`` holds all that was written of it."""
    disk_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        "rollouts": rollouts,
        "steps": steps,
        "steps_per_s": steps / seconds,
        "disk_bytes_per_step": disk_bytes / steps,
        "disk_per_array_byte": disk_bytes / array_bytes,
    }
