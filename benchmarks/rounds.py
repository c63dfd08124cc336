"""Made-up content as a sealed round of this project."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from synthetic import Arrays, Content

from data_collection.episode_buffer import EpisodeBuffer
from data_collection.episodes import AsyncEpisodeWriter, EpisodeAttributes, RoundWriter, seal
from data_collection.episodes.schema import EXPERT, IMAGE_PREFIX
from data_collection.recording import RecordingConfig
from trainer.environment import STATE, Observation, StepResult

Storage = Literal["raw", "jpeg"]
Steps = list[tuple[Observation, np.ndarray]]
"""An episode as an environment shows it: at each step an observation and an action."""


def write_round(folder: Path, content: Content, storage: Storage = "raw") -> None:
    """Make ``folder`` a sealed round of the content."""
    record(folder, map(as_steps, content.generate()), storage)
    seal(folder)


def record(folder: Path, episodes: Iterable[Steps], storage: Storage = "raw") -> None:
    """Record the episodes frame by frame, as a collecting worker does; all are then on the disk."""
    recording = RecordingConfig(images=storage)
    round_writer = RoundWriter(folder, "{}\n")
    with AsyncEpisodeWriter(folder, round_writer.enter) as writer:
        for number, steps in enumerate(episodes):
            buffer = EpisodeBuffer(recording)
            for t, (observation, action) in enumerate(steps):
                last = t == len(steps) - 1
                result = StepResult(observation, 0.0, last, truncated=False, success=last)
                buffer.add(observation, action, action, EXPERT, result)
            attributes = EpisodeAttributes(seed=number, success=True)
            writer.submit(f"{number:05d}", buffer.arrays(), attributes)


def as_steps(arrays: Arrays) -> Steps:
    """Return the steps of a made-up episode; pictures are (3, H, W)."""
    arrays = dict(arrays)
    actions = arrays.pop("action")
    columns = {STATE: arrays.pop("state")} | {
        IMAGE_PREFIX + name: np.ascontiguousarray(film.transpose(0, 3, 1, 2))
        for name, film in arrays.items()
    }
    return [({key: v[t] for key, v in columns.items()}, a) for t, a in enumerate(actions)]
