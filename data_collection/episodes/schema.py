"""What an episode file may hold: keys, dtypes, shapes, and who is who.

Shape legend: T steps, S state, A action, C channels, L labels, H label-chunk steps.
A batch key is a path in the file: ``observation.images.head`` is ``observation/images/head``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data_collection.episodes.texts import split_texts

FORMAT_VERSION = 1

_GENERATED_PREFIX = "generated."

STATE = "observation.state"
IMAGE_PREFIX = "observation.images."
DEPTH_PREFIX = "observation.depth."
SEGMENTATION_PREFIX = "observation.segmentation."
ACTION = "action"
ACTION_VALID = "action_valid"
EXECUTED_ACTION = "executed_action"
ACTOR = "actor"
REWARD = "reward"
TERMINATED = "terminated"
TRUNCATED = "truncated"
TASK = "task"
LABEL_FRAME = "label.frame"
LABEL_CHUNK = "label.chunk"
LABEL_VALID = "label.valid"
IS_BASELINE = "generated.is_baseline"
GENERATED_IMAGE_PREFIX = "generated.images."
VALID_PREFIX = "generated.valid."
PROMPT = "generated.prompt"
GENERATED_SEED = "generated.seed"
JPEG_DATA = ".data"
JPEG_OFFSETS = ".offsets"
TEXT_DATA = ".text"
TEXT_INDEX = ".index"

EXPERT, STUDENT, OTHER = 0, 1, 2
"""Values of ``actor``: who executed a step. ``OTHER`` is a weaker teacher or anything else."""

ACTOR_NAMES = ("expert", "student", "other")

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_KEY = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


class EpisodeError(Exception):
    """Recorded data are damaged, missing, or not what the format allows."""


class EpisodeContentError(EpisodeError):
    """An episode that was to be written is not what the format allows."""

    def __init__(self, rollout_id: str, message: str) -> None:
        super().__init__(message)
        self.rollout_id = rollout_id


@dataclass(frozen=True)
class _Column:
    dtypes: tuple[str, ...]
    shape: str
    optional: bool = False


_COLUMNS = {
    STATE: _Column(("float32",), "TS"),
    ACTION: _Column(("float32",), "TA"),
    ACTION_VALID: _Column(("bool",), "T"),
    EXECUTED_ACTION: _Column(("float32",), "TA"),
    ACTOR: _Column(("uint8",), "T"),
    REWARD: _Column(("float32",), "T"),
    TERMINATED: _Column(("bool",), "T"),
    TRUNCATED: _Column(("bool",), "T"),
    TASK: _Column(("int64",), "T", optional=True),
    LABEL_FRAME: _Column(("int64",), "L", optional=True),
    LABEL_CHUNK: _Column(("float32",), "LHA", optional=True),
    LABEL_VALID: _Column(("bool",), "LH", optional=True),
    IS_BASELINE: _Column(("bool",), "T", optional=True),
    PROMPT + TEXT_DATA: _Column(("uint8",), "n", optional=True),
    PROMPT + TEXT_INDEX: _Column(("int64",), "T", optional=True),
    GENERATED_SEED: _Column(("int64",), "T", optional=True),
}
_IMAGE = _Column(("uint8",), "T3hw")
_DEPTH = _Column(("float16", "float32", "uint16"), "T1hw")  # uint16 is millimetres
_SEGMENTATION = _Column(("int16",), "T2hw")  # id and kind of what is seen
_VALID = _Column(("uint8",), "Thw")  # a bit a pixel, each row of a picture in whole bytes
_JPEG_DATA = _Column(("uint8",), "n")
_JPEG_OFFSETS = _Column(("int64",), "m")
_LABELS = {LABEL_FRAME, LABEL_CHUNK, LABEL_VALID}
_GENERATED = {IS_BASELINE, PROMPT + TEXT_DATA, PROMPT + TEXT_INDEX, GENERATED_SEED}


def hdf5_path(key: str) -> str:
    """Return the path of a batch key inside an episode file."""
    return key.replace(".", "/")


def batch_key(path: str) -> str:
    """Return the batch key of a path inside an episode file."""
    return path.replace("/", ".")


def check_id(rollout_id: str) -> None:
    """Raise EpisodeError unless ``rollout_id`` is a safe file name."""
    if not _ID.fullmatch(rollout_id):
        raise EpisodeError(
            f"rollout id {rollout_id!r}: expected 1 to 200 letters, digits, '_', '-' or '.'"
        )


def check_arrays(rollout_id: str, arrays: Mapping[str, np.ndarray]) -> int:
    """Return the number of steps T of a well-formed episode.

    Raises:
        EpisodeError: A key is missing, unknown, of another dtype or shape than the format
            allows, or holds NaN or infinity; the message names episode, key and step.
    """
    where = f"episode {rollout_id}"
    missing = [k for k, column in _COLUMNS.items() if not column.optional and k not in arrays]
    if 0 < len(_LABELS & arrays.keys()) < len(_LABELS):
        missing += sorted(_LABELS - arrays.keys())
    if any(key.startswith(_GENERATED_PREFIX) for key in arrays):
        missing += sorted(_GENERATED - arrays.keys())
    if missing:
        raise EpisodeError(f"{where}: keys missing: {', '.join(missing)}")
    sizes = {"1": 1, "2": 2, "3": 3}
    for key, array in sorted(arrays.items(), key=lambda item: item[0] != STATE):
        _check_array(where, key, array, sizes)
    if sizes["T"] == 0:
        raise EpisodeError(f"{where}: it has no steps; write only episodes with at least one")
    _check_values(where, arrays, sizes["T"])
    return sizes["T"]


def _column(where: str, key: str) -> _Column:
    if key in _COLUMNS:
        return _COLUMNS[key]
    if _KEY.fullmatch(key) and key.startswith(VALID_PREFIX):
        return _VALID
    if not _KEY.fullmatch(key) or not key.startswith("observation."):
        raise EpisodeError(f"{where}: unknown key {key!r}; known: {', '.join(_COLUMNS)}")
    if key.endswith(JPEG_DATA):
        return _JPEG_DATA
    if key.endswith(JPEG_OFFSETS):
        return _JPEG_OFFSETS
    if key.startswith(IMAGE_PREFIX):
        return _IMAGE
    if key.startswith(DEPTH_PREFIX):
        return _DEPTH
    if key.startswith(SEGMENTATION_PREFIX):
        return _SEGMENTATION
    raise EpisodeError(
        f"{where}: unknown observation {key!r}; use images.*, depth.* or segmentation.*"
    )


def _check_array(where: str, key: str, array: np.ndarray, sizes: dict[str, int]) -> None:
    column = _column(where, key)
    if array.dtype not in [np.dtype(name) for name in column.dtypes]:
        expected = " or ".join(column.dtypes)
        raise EpisodeError(f"{where}: {key} must be {expected}, got {array.dtype}")
    # Height and width are each key's own; the other letters agree over the whole episode.
    own = {letter: -1 for letter in column.shape if letter in "hwnm"}
    expected = [own.get(c, sizes.get(c, -1)) for c in column.shape]
    if array.ndim != len(expected) or any(
        want not in (-1, got) for want, got in zip(expected, array.shape, strict=True)
    ):
        shape = ", ".join(
            str(n) if n >= 0 else c for n, c in zip(expected, column.shape, strict=True)
        )
        raise EpisodeError(f"{where}: {key} must have shape ({shape}), got {array.shape}")
    for letter, size in zip(column.shape, array.shape, strict=True):
        if letter not in own:
            sizes.setdefault(letter, size)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        raise EpisodeError(f"{where}: {key} is NaN or infinite at step {int(bad.argmax())}")


def _check_values(where: str, arrays: Mapping[str, np.ndarray], steps: int) -> None:
    if arrays[ACTOR].max() >= len(ACTOR_NAMES):
        raise EpisodeError(f"{where}: {ACTOR} must be one of 0, 1, 2, got {arrays[ACTOR].max()}")
    frames = arrays.get(LABEL_FRAME)
    if frames is not None and (np.diff(frames, prepend=-1, append=steps) <= 0).any():
        raise EpisodeError(f"{where}: {LABEL_FRAME} must rise strictly within 0…{steps - 1}")
    for key in arrays:
        if key.endswith((JPEG_DATA, JPEG_OFFSETS)):
            _check_jpeg(where, key.rpartition(".")[0], arrays, steps)
        elif key.startswith(VALID_PREFIX):
            _check_valid(where, key, IMAGE_PREFIX + key.removeprefix(VALID_PREFIX), arrays)
    if IS_BASELINE in arrays:
        _check_texts(where, PROMPT, arrays)


def _check_valid(where: str, key: str, image: str, arrays: Mapping[str, np.ndarray]) -> None:
    if image in arrays:
        height, width = arrays[image].shape[2:]
        row = (height, -(-width // 8))
        if arrays[key].shape[1:] != row:
            raise EpisodeError(
                f"{where}: {key} must have rows of shape {row}, a bit for each pixel of {image}, "
                f"got {arrays[key].shape[1:]}"
            )
    elif image + JPEG_DATA not in arrays:
        raise EpisodeError(f"{where}: {key} belongs to {image}, which is not there")


def _check_texts(where: str, key: str, arrays: Mapping[str, np.ndarray]) -> None:
    try:
        split_texts(arrays[key + TEXT_DATA], arrays[key + TEXT_INDEX])
    except (ValueError, IndexError) as error:
        raise EpisodeError(
            f"{where}: {key} needs {TEXT_DATA}, a JSON list of texts, and {TEXT_INDEX} into it "
            f"({error!r})"
        ) from error


def _check_jpeg(where: str, key: str, arrays: Mapping[str, np.ndarray], steps: int) -> None:
    data, offsets = arrays.get(key + JPEG_DATA), arrays.get(key + JPEG_OFFSETS)
    if data is None or offsets is None or key in arrays:
        raise EpisodeError(f"{where}: {key} needs either raw frames, or both data and offsets")
    ends = (0, len(data))
    if len(offsets) != steps + 1 or tuple(offsets[[0, -1]]) != ends or (np.diff(offsets) < 0).any():
        raise EpisodeError(
            f"{where}: {key}{JPEG_OFFSETS} must be {steps + 1} rising offsets from 0 to {len(data)}"
        )
