"""Generators: from depth, masks and words to a picture. Each file registers one, by its name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.registry import Registry


@dataclass(frozen=True)
class Prompt:
    """What a picture should show, in words: its objects, and all that is around them."""

    foreground: str
    background: str

    def __str__(self) -> str:
        """Return both in one line, as manifests keep it."""
        return f"{self.foreground} | {self.background}"


@dataclass(frozen=True, eq=False)
class Scene:
    """What one picture is made from; the whole of it decides every pixel."""

    depth_hw: np.ndarray
    """(H, W) float32, metres along the optical axis."""
    mask_hw: np.ndarray
    """(H, W) integer: the object that each pixel shows, 0 for the background."""
    prompt: Prompt
    seed: int
    """At least 0, less than 2**63."""


class Generator(ABC):
    """Turns scenes into pictures. It may live in another process, or on another machine."""

    @abstractmethod
    def generate(self, scenes: Sequence[Scene]) -> list[np.ndarray]:
        """Return a picture (H, W, 3) uint8 of each scene.

        The picture of a scene is the same whichever others it comes with: callers put scenes of
        several episodes together.
        """


generators: Registry[Generator] = Registry("generator", ["root"])
