"""Colours of a surface: its material's or its own, textured, with what lies over it.

Shape legend: P points, K colours of a palette.
"""

from __future__ import annotations

import numpy as np

from data_collection.rendering.procedural.looks import Surface
from data_collection.rendering.procedural.textures import Noise, TextureName, texture
from data_collection.rendering.procedural.vocabulary import Material, vocabulary

_FEATURE_PIXELS = 5
"""Features smaller than this would flicker."""

_FINISH_SIZE = 0.15
"""Of the patches in which a finish lies, metres."""

_SINGLE_CONTRAST = 0.35
"""How much of a material's own contrast is left when it is of one named colour."""

_PIECE = 0.08
"""By how much two pieces of the same material differ in colour."""

_APART = 0.14
"""Objects whose brightness differs by less than this from the ground's are made to differ."""


class Painted:
    """A surface with everything about it drawn.

    Args:
        surface: What it looks like.
        generator: What makes this piece of it differ from others.
        noise: The scene's.
        pixel: The size of a pixel, metres.
    """

    def __init__(
        self, surface: Surface, generator: np.random.Generator, noise: Noise, pixel: float
    ) -> None:
        self._surface = surface
        self._noise = noise
        self._least_size = _FEATURE_PIXELS * pixel
        self._shift = generator.uniform(0, 32, 3).astype(np.float32)
        piece = generator.uniform(1 - _PIECE, 1 + _PIECE, 3)
        self._palette_k3 = np.clip(_palette(surface) * piece, 0, 1)
        self.gloss = surface.material.gloss if surface.gloss is None else surface.gloss

    @property
    def brightness(self) -> float:
        """The mean of its palette, 0 to 1."""
        return float(self._palette_k3.mean())

    def stand_apart_from(self, brightness: float) -> None:
        """Become lighter or darker where it is nearly as bright as what is behind it."""
        if abs(self.brightness - brightness) < _APART:
            target = brightness - _APART if brightness > 0.45 else brightness + _APART
            change = target - self.brightness
            self._palette_k3 = np.clip(self._palette_k3 + change, 0, 1)

    def colours(self, point_p3: np.ndarray, normal_p3: np.ndarray) -> np.ndarray:
        """Return (P, 3) from 0 to 1; the third axis of points and unit normals is up."""
        surface = self._surface
        name = surface.pattern or surface.material.texture
        colour_p3 = self._textured(
            name, surface.material.size, self._palette_k3, point_p3, normal_p3
        )
        if surface.finish is None:
            return colour_p3
        over = vocabulary().materials[surface.finish.material]
        over_p3 = self._textured(over.texture, over.size, _own(over), point_p3, normal_p3)
        size = max(_FINISH_SIZE, self._least_size)
        patch_p = self._noise.layered(point_p3 / size - self._shift)
        share_p = np.clip(6 * (patch_p - 0.75 + 0.5 * surface.finish.amount), 0, 1)[:, None]
        return colour_p3 + share_p * (over_p3 - colour_p3)

    def _textured(
        self,
        name: TextureName,
        size: float,
        palette_k3: np.ndarray,
        point_p3: np.ndarray,
        normal_p3: np.ndarray,
    ) -> np.ndarray:
        unit_p3 = point_p3 / max(size, self._least_size) + self._shift
        place_p = texture(name, unit_p3, normal_p3, self._noise)
        stops = np.linspace(0, 1, len(palette_k3))
        channels = [np.interp(place_p, stops, palette_k3[:, c]) for c in range(3)]
        return np.stack(channels, axis=1).astype(np.float32)


def _palette(surface: Surface) -> np.ndarray:
    """Return the colours (K, 3), 0 to 1, between which the surface's texture moves."""
    own_k3 = _own(surface.material)
    if not surface.colours:
        return own_k3
    named_k3 = np.array(surface.colours) / 255
    if len(named_k3) > 1:
        return named_k3
    # One colour, lighter and darker as the material is.
    light_k = own_k3.mean(axis=1) / own_k3.mean()
    if surface.pattern is not None:
        light_k = np.array([0.45, 1.25])
    return np.clip(named_k3 * (1 + _SINGLE_CONTRAST * (light_k - 1))[:, None], 0, 1)


def _own(material: Material) -> np.ndarray:
    return np.array(material.palette) / 255
