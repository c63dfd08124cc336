"""What a batch holds, and from which recorded rows it is made."""

from __future__ import annotations

from collections.abc import Sequence

from components.datasets.blocks import BlockPool
from components.datasets.decoding import DepthInMetres, JpegFrames
from components.datasets.fit import is_jpeg
from components.datasets.row_sources import Rows, RowSource, StoredRows, parts_of
from data_collection.episodes import SealedRound
from data_collection.episodes.schema import JPEG_DATA, LABEL_CHUNK
from trainer.errors import DataError, nearest
from trainer.interfaces import ACTION, DEPTH_PREFIX, IMAGE_PREFIX, STATE, TASK, Interface
from trainer.yaml_file import from_yaml


def cameras_with_depth(interface: Interface, depth: Sequence[str] | None) -> list[str]:
    """Return the cameras whose depth is wanted; raise ValueError when one is not known."""
    unknown = [name for name in depth or [] if name not in interface.cameras]
    if unknown:
        raise ValueError(
            f"depth: no camera {unknown[0]!r} in the interface"
            f"{nearest(unknown[0], interface.cameras)}; its cameras: "
            f"{', '.join(interface.cameras) or 'none'}"
        )
    return list(depth or [])


def rows_to_deliver(
    rounds: Sequence[SealedRound], interface: Interface, depth: Sequence[str]
) -> dict[str, Rows]:
    """Return what is gathered for a batch, by key."""
    shapes: dict[str, tuple[int, ...]] = {STATE: (interface.state,)}
    shapes |= {DEPTH_PREFIX + name: (1, *interface.cameras[name][1:]) for name in depth}
    if all(TASK in sealed.keys for sealed in rounds):
        _check_tasks(rounds)
        shapes[TASK] = ()
    rows = {key: Rows(parts_of(rounds, key), shape) for key, shape in shapes.items()}
    rows |= {
        IMAGE_PREFIX + name: _frames(rounds, IMAGE_PREFIX + name, shape)
        for name, shape in interface.cameras.items()
    }
    # The order of the action rows is what windows.py counts on.
    actions = parts_of(rounds, ACTION) + parts_of(rounds, LABEL_CHUNK)
    return rows | {ACTION: Rows(actions, (interface.action,))}


def decoded(
    key: str, stored: StoredRows, rows: Rows, interface: Interface, blocks: BlockPool
) -> RowSource:
    """Return what is delivered under ``key``, made from how it is stored."""
    if rows.parts[0].key.endswith(JPEG_DATA):
        shape = interface.cameras[key.removeprefix(IMAGE_PREFIX)]
        return JpegFrames(stored, rows.parts, shape, blocks)
    return DepthInMetres(stored) if key.startswith(DEPTH_PREFIX) else stored


def _check_tasks(rounds: Sequence[SealedRound]) -> None:
    """Raise DataError when a number stands for one task here and for another one there."""
    known: dict[int, tuple[str, SealedRound]] = {}
    for sealed in rounds:
        source = from_yaml(sealed.config_yaml).get("source") or {}
        for number, text in (source.get("tasks") or {}).items():
            named, first = known.setdefault(number, (text, sealed))
            if named != text:
                raise DataError(
                    f"task {number} is {named!r} in {first.folder}, but {text!r} in "
                    f"{sealed.folder}; merge the data sets before importing them, or train on each "
                    "alone"
                )


def _frames(rounds: Sequence[SealedRound], key: str, shape: tuple[int, ...]) -> Rows:
    """Return the frames of a camera, or the bytes of its JPEG frames."""
    first, *others = (is_jpeg(sealed, key) for sealed in rounds)
    for sealed, other in zip(rounds[1:], others, strict=True):
        if other != first:
            raise DataError(
                f"{key} is {_kind(other)} in {sealed.folder}, but {_kind(first)} in "
                f"{rounds[0].folder}; use rounds recorded alike"
            )
    recorded, row_shape = (key + JPEG_DATA, ()) if first else (key, shape)
    return Rows(parts_of(rounds, recorded), row_shape)


def _kind(jpeg: bool) -> str:
    return "JPEG" if jpeg else "raw"
