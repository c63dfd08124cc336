"""Which episodes of the rounds are learnt from: the successful ones, or those that are named.

Shape legend: E episodes, numbered over all rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_collection.episodes import EpisodeError, SealedRound
from trainer.errors import DataError, nearest


def chosen_episodes(
    rounds: Sequence[SealedRound], only_successes: bool, names: Sequence[str] | None
) -> np.ndarray:
    """Return (E,) bool: which episodes are chosen; all of them where nothing is asked for.

    Args:
        rounds: Where the episodes lie.
        only_successes: Leave those out whose manifest says that they failed.
        names: Ids, or ``round_001/id`` where several rounds have the id; None: all.

    Raises:
        DataError: A name is that of no episode or of several, a manifest is damaged, or no
            episode is left.
    """
    ids = [(sealed, each) for sealed in rounds for each in sealed.ids]
    chosen_e = np.ones(len(ids), dtype=bool)
    if names is not None:
        chosen_e[:] = False
        chosen_e[_numbers(names, ids)] = True
    if only_successes:
        try:
            chosen_e &= [sealed.manifest[each].attributes.success for sealed, each in ids]
        except (EpisodeError, KeyError) as error:
            raise DataError(f"only_successes: damaged manifest of a round: {error}") from error
    if not chosen_e.any():
        asked = "only_successes: true" if only_successes else "episodes: []"
        count = len(ids) if names is None else len(names)
        raise DataError(f"{asked} leaves none of {count} episodes; choose or collect others")
    return chosen_e


def _numbers(names: Sequence[str], ids: Sequence[tuple[SealedRound, str]]) -> list[int]:
    """Return the number of the one episode that each name stands for."""
    table: dict[str, list[int]] = {}
    shown = [f"{sealed.folder.name}/{each}" for sealed, each in ids]
    for e, (_, each) in enumerate(ids):
        table.setdefault(each, []).append(e)
        table.setdefault(shown[e], []).append(e)
    for name in names:
        if name not in table:
            raise DataError(f"episodes: {name!r} is in none of the rounds{nearest(name, table)}")
        if len(table[name]) > 1:
            several = " or ".join(shown[e] for e in table[name])
            raise DataError(f"episodes: {name!r} is in several rounds; write {several}")
    return [table[name][0] for name in names]
