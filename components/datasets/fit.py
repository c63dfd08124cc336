"""Whether a round fits an experiment: sizes, cameras, control rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from components.datasets.rounds import round_config
from data_collection.episodes import SealedRound
from data_collection.episodes.jpeg import frame_shape
from data_collection.episodes.schema import (
    ACTION,
    DEPTH_PREFIX,
    IMAGE_PREFIX,
    JPEG_DATA,
    JPEG_OFFSETS,
    STATE,
)
from trainer.errors import DataError, nearest
from trainer.interfaces import Interface


def check_fits(sealed: SealedRound, interface: Interface, depth: Sequence[str] = ()) -> None:
    """Raise DataError naming round, key, expected and got when a round does not fit.

    Args:
        sealed: The round.
        interface: What the policy sees and does.
        depth: Those of the interface's cameras whose depth is wanted too.
    """
    _check_control_rate(sealed, interface)
    images = {IMAGE_PREFIX + name: shape for name, shape in interface.cameras.items()}
    depths = {DEPTH_PREFIX + name: (1, *interface.cameras[name][1:]) for name in depth}
    _check_recorded(sealed, IMAGE_PREFIX, images)
    _check_recorded(sealed, DEPTH_PREFIX, depths)
    vectors = {STATE: (interface.state,), ACTION: (interface.action,)}
    for key, shape in (vectors | images | depths).items():
        got = _row_shape(sealed, key)
        if got != tuple(shape):
            raise DataError(
                f"{sealed.folder}: {key} has shape {got}, but interface says {tuple(shape)}; "
                "correct interface in the experiment, or use other rounds"
            )


def is_jpeg(sealed: SealedRound, key: str) -> bool:
    """Return whether the pictures of ``key`` are recorded as JPEG."""
    return key + JPEG_DATA in sealed.keys


def _check_control_rate(sealed: SealedRound, interface: Interface) -> None:
    recorded = round_config(sealed).get("recorded")
    rate = recorded.get("control_hz") if isinstance(recorded, Mapping) else None
    if isinstance(rate, int | float) and not math.isclose(rate, interface.control_hz, rel_tol=1e-6):
        raise DataError(
            f"{sealed.folder}: recorded at {rate:g} actions a second, but interface.control_hz is "
            f"{interface.control_hz:g}; correct it in the experiment, or use other rounds"
        )


def _check_recorded(sealed: SealedRound, prefix: str, wanted: Mapping[str, Sequence[int]]) -> None:
    """Raise DataError with both lists of cameras when one of those wanted was not recorded."""
    recorded = sealed.cameras(prefix)
    names = [key.removeprefix(prefix) for key in wanted]
    missing = [name for name in names if name not in recorded]
    if missing:
        raise DataError(
            f"{sealed.folder}: {prefix}{missing[0]} was not recorded{nearest(missing[0], recorded)}"
            f"; the experiment wants {prefix}* of {', '.join(names)}; this round has "
            f"{', '.join(recorded) or 'none'}; correct the experiment, or collect with its cameras"
        )


def _row_shape(sealed: SealedRound, key: str) -> tuple[int, ...]:
    """Return the shape of one step; that of a JPEG is in its first frame."""
    if not is_jpeg(sealed, key):
        return sealed.extents(key).row_shape
    start, stop = sealed.array(key + JPEG_OFFSETS, 0)[:2]
    try:
        return frame_shape(sealed.array(key + JPEG_DATA, 0)[start:stop])
    except ValueError as error:
        raise DataError(f"{sealed.place(key, 0, 0)} is not a whole JPEG: {error}") from error
