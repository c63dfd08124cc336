"""Which episodes are kept out of training, to validate on."""

from __future__ import annotations

import math

import numpy as np

from trainer.errors import DataError


def held_out_samples(
    episode_of_sample: np.ndarray, fraction: float, seed: int, where: str
) -> np.ndarray:
    """Return which samples (len,) bool are for validation: all of an episode, or none.

    Of every ``1 / fraction`` episodes one is drawn. Which one does not depend on how many follow:
    what was held out in one round of data still is in the next, whose training may begin with
    weights that have learnt from the others.

    Args:
        episode_of_sample: (len,) index of each sample's episode.
        fraction: Share of the episodes, in (0, 1).
        seed: Of the draw.
        where: Begins the message.

    Raises:
        DataError: Nothing is left for validation, or for training.
    """
    stretches = math.ceil(fraction * (int(episode_of_sample.max()) + 1))
    places = np.arange(stretches) + np.random.default_rng(seed).random(stretches)
    held_out = np.isin(episode_of_sample, np.floor(places / fraction))
    if held_out.all() or not held_out.any():
        raise DataError(
            f"{where}: of {len(np.unique(episode_of_sample))} episodes none is left for "
            f"{'training' if held_out.any() else 'validation'}; choose another fraction, or "
            "validation: null"
        )
    return held_out
