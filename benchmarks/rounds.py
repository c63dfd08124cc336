"""Made-up content as a sealed round of this project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from synthetic import Arrays, Content

from data_collection.episodes import (
    AsyncEpisodeWriter,
    EpisodeAttributes,
    RoundWriter,
    seal,
)
from data_collection.episodes.schema import EXPERT, IMAGE_PREFIX, STATE


def write_round(folder: Path, content: Content) -> Path:
    """Return ``folder``, now a sealed round of the content."""
    round_writer = RoundWriter(folder, "{}\n")
    with AsyncEpisodeWriter(folder, round_writer.enter) as writer:
        for number, arrays in enumerate(content.generate()):
            attributes = EpisodeAttributes(seed=number, success=True)
            writer.submit(f"{number:05d}", as_episode(arrays), attributes)
    seal(folder)
    return folder


def as_episode(arrays: Arrays) -> Arrays:
    """Return the arrays of an episode file: the expert acted throughout."""
    films = {name: film for name, film in arrays.items() if name not in ("state", "action")}
    steps = len(arrays["action"])
    last = np.arange(steps) == steps - 1
    return {
        STATE: arrays["state"],
        "action": arrays["action"],
        "executed_action": arrays["action"],
        "action_valid": np.ones(steps, bool),
        "actor": np.full(steps, EXPERT, np.uint8),
        "reward": np.zeros(steps, np.float32),
        "terminated": last,
        "truncated": np.zeros(steps, bool),
    } | {
        IMAGE_PREFIX + name: np.ascontiguousarray(film.transpose(0, 3, 1, 2))
        for name, film in films.items()
    }
