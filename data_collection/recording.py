"""What a round keeps of the observations: pictures raw or as JPEG, depth in fewer bytes."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from data_collection.episodes.jpeg import encode_frame
from data_collection.episodes.schema import (
    DEPTH_PREFIX,
    IMAGE_PREFIX,
    SEGMENTATION_PREFIX,
)
from trainer.environment import Observation
from trainer.errors import DataError
from trainer.schema import Strict

Kept = dict[str, np.ndarray | bytes]
"""What is kept of one observation; bytes are a JPEG."""

_MILLIMETRES = 1000.0


class RecordingConfig(Strict):
    """How observations are recorded; states are kept as they are."""

    images: Literal["raw", "jpeg"] = "raw"
    """``raw`` trains fastest; ``jpeg`` takes about an eighth of the disk."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    depth: Literal["float16", "millimetres", "float32", "none"] = "float16"
    """Metres in floating point, or whole millimetres up to 65.5 m; what is farther away is
    recorded at the largest number."""
    segmentation: Literal["int16", "none"] = "int16"

    def keep(self, observation: Observation) -> Kept:
        """Return what is recorded of an observation.

        Raises:
            DataError: A segmentation holds an id that int16 cannot.
        """
        kept: Kept = {}
        for key, value in observation.items():
            if key.startswith(IMAGE_PREFIX) and self.images == "jpeg":
                kept[key] = encode_frame(value, self.jpeg_quality)
            elif key.startswith(DEPTH_PREFIX):
                if self.depth != "none":
                    kept[key] = _depth(value, self.depth)
            elif key.startswith(SEGMENTATION_PREFIX):
                if self.segmentation != "none":
                    kept[key] = _segmentation(key, value)
            else:
                kept[key] = value
        return kept


def _depth(depth_m: np.ndarray, kind: Literal["float16", "millimetres", "float32"]) -> np.ndarray:
    if kind == "millimetres":
        largest = np.iinfo(np.uint16).max
        return np.minimum(np.rint(depth_m * _MILLIMETRES), largest).astype(np.uint16)
    dtype = np.dtype(kind)
    return np.minimum(depth_m, np.finfo(dtype).max).astype(dtype)


def _segmentation(key: str, ids: np.ndarray) -> np.ndarray:
    limits = np.iinfo(np.int16)
    if ids.min() < limits.min or ids.max() > limits.max:
        raise DataError(
            f"{key}: ids from {ids.min()} to {ids.max()} do not fit int16; "
            "record without it (recording.segmentation: none)"
        )
    return ids.astype(np.int16)
