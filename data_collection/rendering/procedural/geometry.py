"""The shape of a scene from its depth: points, normals, which way is up.

Legend: vectors are first right, down and forward in the camera's own axes, then aside, away and up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

_LOOKS_UP = 0.25
"""A normal with so much of it upwards in the picture may be of something that lies flat."""

_LEAST_FLAT = 0.1
"""So much of the background has to lie flat to tell where up is."""

_SKY = 8.0
"""What is so many times as far as the rest is taken for empty."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """A scene seen by a camera with a field of view of 53°; others are close enough to that."""

    point_hw3: np.ndarray
    normal_hw3: np.ndarray
    """Unit normals, towards the camera."""
    sky_hw: np.ndarray
    """bool: where there is nothing."""
    distance: float
    """The median depth of all else, to the nearest half octave: it hardly changes in an episode."""
    hidden_hw: np.ndarray
    """0 to 1: how far behind its surroundings a pixel lies."""

    @property
    def pixel(self) -> float:
        """The size of a pixel in that distance, metres."""
        return self.distance / len(self.point_hw3)


def geometry(depth_hw: np.ndarray, background_hw: np.ndarray) -> Geometry:
    """Return the shape of a scene.

    Args:
        depth_hw: metres along the optical axis.
        background_hw: bool: what stands still.
    """
    height, width = depth_hw.shape
    sky_hw = depth_hw > _SKY * np.median(depth_hw)
    distance = float(2 ** (np.round(2 * np.log2(np.median(depth_hw[~sky_hw]))) / 2))
    x_w = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / height
    y_h = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / height
    ray_hw3 = np.ones((height, width, 3), np.float32)
    ray_hw3[..., 0], ray_hw3[..., 1] = x_w, y_h[:, None]
    point_hw3 = ray_hw3 * np.minimum(depth_hw, _SKY * distance)[..., None]
    normal_hw3 = _normals(point_hw3)
    axes = _axes(normal_hw3, background_hw & ~sky_hw)
    around = uniform_filter(point_hw3[..., 2], size=max(3, height // 12))
    hidden_hw = np.clip((point_hw3[..., 2] - around) / distance * 8, 0, 1)
    return Geometry(point_hw3 @ axes.T, normal_hw3 @ axes.T, sky_hw, distance, hidden_hw)


def _normals(point_hw3: np.ndarray) -> np.ndarray:
    """Return unit normals; at an edge they are those of the side that a pixel belongs to."""
    down_hw3, right_hw3 = (_smaller_difference(point_hw3, axis) for axis in (0, 1))
    normal_hw3 = np.cross(down_hw3, right_hw3)
    return normal_hw3 / (np.linalg.norm(normal_hw3, axis=-1, keepdims=True) + 1e-12)


def _smaller_difference(point_hw3: np.ndarray, axis: int) -> np.ndarray:
    """Return the step to the next or from the last point, whichever changes the depth less."""
    step = np.diff(point_hw3, axis=axis)
    ends = [(0, 0), (0, 0), (0, 0)]
    ahead, behind = list(ends), list(ends)
    ahead[axis], behind[axis] = (0, 1), (1, 0)
    to_next, from_last = np.pad(step, ahead, mode="edge"), np.pad(step, behind, mode="edge")
    is_smaller = np.abs(to_next[..., 2:]) <= np.abs(from_last[..., 2:])
    return np.where(is_smaller, to_next, from_last)


def _axes(normal_hw3: np.ndarray, ground_hw: np.ndarray) -> np.ndarray:
    """Return (3, 3): rows that point aside, away and up, up being the normal of what lies flat."""
    normals = normal_hw3[ground_hw] if ground_hw.any() else normal_hw3.reshape(-1, 3)
    flat = normals[normals[:, 1] < -_LOOKS_UP]
    up = np.median(flat if len(flat) > _LEAST_FLAT * len(normals) else normals, axis=0)
    up = up / (np.linalg.norm(up) + 1e-12)
    aside = np.cross([0, 0, 1], up) if abs(up[2]) < 0.9 else np.array([1.0, 0, 0])
    aside = aside - up * (aside @ up)
    aside /= np.linalg.norm(aside) + 1e-12
    return np.stack([aside, np.cross(up, aside), up]).astype(np.float32)
