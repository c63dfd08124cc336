"""The field of Avoiding from above, drawn with NumPy.

Edges are soft, so that small pictures show movements of less than a pixel.
"""

from __future__ import annotations

import numpy as np

from data_collection.envs.avoiding_routes import (
    FIELD_HIGH_M,
    FIELD_LOW_M,
    GOAL_Y_M,
    OBSTACLE_RADIUS_M,
    OBSTACLES_N2,
)

_AGENT_RADIUS_M = 0.02  # a point would not be seen
_GOAL_WIDTH_M = 0.01
_GROUND, _OBSTACLE, _GOAL, _AGENT = (240, 240, 240), (200, 60, 50), (60, 160, 80), (40, 90, 200)


class TopView:
    """Draws the agent on the field in pictures of one size; y points upwards.

    Args:
        height: In pixels.
        width: In pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        pixel = (FIELD_HIGH_M - FIELD_LOW_M) / (width, height)
        self._softness_m = float(pixel.max())
        self._x_w = FIELD_LOW_M[0] + pixel[0] * (np.arange(width) + 0.5)
        self._y_h = FIELD_HIGH_M[1] - pixel[1] * (np.arange(height) + 0.5)
        picture = np.full((height, width, 3), _GROUND, dtype=np.float64)
        beyond_h1 = np.abs(self._y_h - GOAL_Y_M)[:, None] - _GOAL_WIDTH_M / 2
        picture = self._painted(picture, beyond_h1, _GOAL)
        for obstacle in OBSTACLES_N2:
            outside_hw = self._distance(obstacle) - OBSTACLE_RADIUS_M
            picture = self._painted(picture, outside_hw, _OBSTACLE)
        self._background_hwc = picture

    def draw(self, agent_2: np.ndarray) -> np.ndarray:
        """Return the picture (H, W, 3) uint8 with the agent at this position in metres."""
        outside_hw = self._distance(agent_2) - _AGENT_RADIUS_M
        return self._painted(self._background_hwc, outside_hw, _AGENT).round().astype(np.uint8)

    def _distance(self, place_2: np.ndarray) -> np.ndarray:
        """Return (H, W) how far each pixel's middle is from a place, in metres."""
        return np.hypot(self._x_w - place_2[0], self._y_h[:, None] - place_2[1])

    def _painted(
        self, picture_hwc: np.ndarray, outside_hw: np.ndarray, colour: tuple[int, int, int]
    ) -> np.ndarray:
        """Return the picture with a shape painted on it, given how far outside it a pixel is."""
        cover_hw1 = np.clip(0.5 - outside_hw / self._softness_m, 0, 1)[..., None]
        return picture_hwc + cover_hw1 * (np.array(colour) - picture_hwc)
