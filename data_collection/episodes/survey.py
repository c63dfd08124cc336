"""What sealing a round has to know of an episode beyond its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_collection.episodes.feature_statistics import Statistics
from data_collection.episodes.index import Extent
from data_collection.episodes.layout import find_arrays
from data_collection.episodes.schema import ACTION, ACTION_VALID, STATE, EpisodeError


@dataclass(frozen=True)
class Survey:
    """Where an episode's arrays lie, and the statistics of its states and valid actions."""

    extents: dict[str, Extent]
    statistics: dict[str, Statistics]

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], extents: dict[str, Extent]) -> Survey:
        """Return the survey of an episode that lies in its file as ``extents`` say."""
        actions = arrays[ACTION][arrays[ACTION_VALID]]
        return cls(extents, {STATE: Statistics.of(arrays[STATE]), ACTION: Statistics.of(actions)})

    @classmethod
    def read(cls, path: Path) -> Survey:
        """Return the survey of an episode file; raise EpisodeError when it is damaged."""
        try:
            extents = find_arrays(path)
            arrays = {key: extents[key].read(path) for key in (STATE, ACTION, ACTION_VALID)}
            return cls.of(arrays, extents)
        except (OSError, KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
            raise EpisodeError(f"{path}: damaged episode file: {error}") from error
