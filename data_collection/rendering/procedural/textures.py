"""Textures: functions of a point in space that say how far along its palette a surface is there.

They are solid: what is cut out of them needs no unwrapping, and stays as it is when it moves with
its points. Points are measured in the size of the texture's features.

Shape legend: P points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.ndimage import map_coordinates

TextureName = Literal[
    "plain",
    "grain",
    "veins",
    "speckles",
    "patches",
    "stripes",
    "checks",
    "bricks",
    "tiles",
    "dots",
    "weave",
    "streaks",
    "waves",
    "leaves",
    "crackle",
    "cells",
]

_LATTICE = 32
_MORTAR = 0.07
"""The share of a brick or tile that is its joint."""


class Noise:
    """Smooth random values in space, which repeat every 32 units.

    Args:
        generator: Decides all of them.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self._lattice = generator.random((_LATTICE,) * 3, dtype=np.float32)

    def at(self, point_p3: np.ndarray) -> np.ndarray:
        """Return values (P,) between 0 and 1, with features about one unit in size."""
        return map_coordinates(self._lattice, point_p3.T, order=1, mode="grid-wrap")

    def layered(self, point_p3: np.ndarray) -> np.ndarray:
        """Return values (P,) between 0 and 1, with finer features on the coarse ones."""
        return (self.at(point_p3) * 2 + self.at(2.03 * point_p3 + 7.7)) / 3


def texture(
    name: TextureName, point_p3: np.ndarray, normal_p3: np.ndarray, noise: Noise
) -> np.ndarray:
    """Return values (P,) float32 from 0 to 1: the place in the palette of each point.

    Args:
        name: Which texture.
        point_p3: Points; the third axis is up.
        normal_p3: Unit normals of the surface there; bricks, tiles and dots lie in its plane.
        noise: What makes one piece of a material differ from another.
    """
    return np.clip(_TEXTURES[name](point_p3, normal_p3, noise), 0, 1).astype(np.float32)


def _plain(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    return noise.at(point)


def _grain(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    along = point * [0.15, 1, 1]
    ring = np.hypot(along[:, 1], along[:, 2]) + 0.7 * noise.at(along * 0.4)
    return 0.5 + 0.35 * np.sin(2 * np.pi * ring) + 0.3 * (noise.at(along * 4) - 0.5)


def _veins(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    bent = point.sum(axis=1) * 0.6 + 3 * noise.layered(point)
    return (1 - np.abs(np.sin(np.pi * bent))) ** 4


def _speckles(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    return _steeper(noise.at(point), 2.5)


def _patches(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    return _steeper(noise.layered(point), 4)


def _stripes(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    u, _ = _in_plane(point, normal)
    return 0.5 + 3 * np.sin(np.pi * u)


def _checks(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    u, v = _in_plane(point, normal)
    return (np.floor(u) + np.floor(v)) % 2


def _bricks(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    u, v = _in_plane(point, normal)
    row = np.floor(v * 2)
    return _laid(u + 0.5 * (row % 2), v * 2, noise)


def _tiles(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    return _laid(*_in_plane(point, normal), noise)


def _dots(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    u, v = _in_plane(point, normal)
    cell = np.stack([np.floor(u), np.floor(v), np.zeros_like(u)], axis=1)
    inside = np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.33
    return inside * (0.5 + 0.5 * np.round(noise.at(cell * 5.3)))


def _weave(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    u, v = _in_plane(point, normal)
    threads = np.sin(2 * np.pi * u) * np.sin(2 * np.pi * v)
    return 0.5 + 0.4 * threads + 0.3 * (noise.at(point * 0.3) - 0.5)


def _streaks(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    return _steeper(noise.layered(point * [0.12, 1, 1]), 2)


def _waves(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    u, v = _in_plane(point, normal)
    return 0.5 + 0.5 * np.sin(2 * np.pi * (0.3 * u + v + 0.8 * noise.at(point)))


def _leaves(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    return np.round(_steeper(noise.layered(point), 2.5) * 3) / 3


def _crackle(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    return _steeper(np.abs(noise.layered(point) - 0.5) * 6, 1.5)


def _cells(point: np.ndarray, normal: np.ndarray, noise: Noise) -> np.ndarray:
    u, v = _in_plane(point, normal)
    bent = np.stack([u, v, np.zeros_like(u)], axis=1)
    u, v = u + 0.6 * noise.at(bent), v + 0.6 * noise.at(bent + 3.1)
    return _laid(u, v, noise)


_TEXTURES: dict[TextureName, Callable[[np.ndarray, np.ndarray, Noise], np.ndarray]] = {
    "plain": _plain,
    "grain": _grain,
    "veins": _veins,
    "speckles": _speckles,
    "patches": _patches,
    "stripes": _stripes,
    "checks": _checks,
    "bricks": _bricks,
    "tiles": _tiles,
    "dots": _dots,
    "weave": _weave,
    "streaks": _streaks,
    "waves": _waves,
    "leaves": _leaves,
    "crackle": _crackle,
    "cells": _cells,
}


def _steeper(value: np.ndarray, factor: float) -> np.ndarray:
    """Return values in which the middle of the range takes less room."""
    return 0.5 + factor * (value - 0.5)


def _laid(u: np.ndarray, v: np.ndarray, noise: Noise) -> np.ndarray:
    """Return 0 in the joints between unit squares, and each square's own value in it."""
    joint = (u % 1 < _MORTAR) | (v % 1 < 2 * _MORTAR)
    cell = np.stack([np.floor(u), np.floor(v), np.zeros_like(u)], axis=1)
    return np.where(joint, 0, 0.5 + 0.5 * noise.at(cell * 5.3))


def _in_plane(point: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two coordinates of each point that lie most in its surface."""
    axis = np.abs(normal).argmax(axis=1)
    u = np.where(axis == 0, point[:, 1], point[:, 0])
    v = np.where(axis == 2, point[:, 1], point[:, 2])
    return u, v
