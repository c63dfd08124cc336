"""Scenes and pictures as bytes on their way to render nodes and back: never pickles."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from pydantic import NonNegativeInt, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from data_collection.rendering.generators import Prompt, Scene
from trainer.errors import DataError
from trainer.schema import Strict

_WORDS = "words"


class _Words(Strict):
    """What a scene is beside its arrays."""

    foreground: str
    background: str
    seed: NonNegativeInt


_WORDS_OF_SCENES = TypeAdapter(list[_Words])


def pack_scenes(scenes: Sequence[Scene]) -> bytes:
    """Return scenes as bytes."""
    words = [
        {"foreground": s.prompt.foreground, "background": s.prompt.background, "seed": s.seed}
        for s in scenes
    ]
    arrays = {_WORDS: np.frombuffer(json.dumps(words).encode(), np.uint8)}
    for i, scene in enumerate(scenes):
        arrays[f"depth.{i}"] = np.ascontiguousarray(scene.depth_hw)
        arrays[f"mask.{i}"] = np.ascontiguousarray(scene.mask_hw)
    return save(arrays)


def unpack_scenes(data: bytes) -> list[Scene]:
    """Return the scenes that ``pack_scenes`` wrote; raise DataError when these bytes are others."""
    try:
        arrays = load(data)
        words = _WORDS_OF_SCENES.validate_json(arrays[_WORDS].tobytes(), strict=True)
        return [
            Scene(
                arrays[f"depth.{i}"],
                arrays[f"mask.{i}"],
                Prompt(each.foreground, each.background),
                each.seed,
            )
            for i, each in enumerate(words)
        ]
    except (SafetensorError, KeyError, ValidationError) as error:
        raise DataError(f"a render node does not understand a request: {error!r}") from error


def pack_pictures(pictures: Sequence[np.ndarray]) -> bytes:
    """Return pictures (H, W, 3) uint8 as bytes."""
    return save({str(i): np.ascontiguousarray(each) for i, each in enumerate(pictures)})


def unpack_pictures(data: bytes) -> list[np.ndarray]:
    """Return the pictures that ``pack_pictures`` wrote; raise DataError for other bytes."""
    try:
        arrays = load(data)
        return [arrays[str(i)] for i in range(len(arrays))]
    except (SafetensorError, KeyError) as error:
        raise DataError(f"a render node's answer is not understood: {error!r}") from error
