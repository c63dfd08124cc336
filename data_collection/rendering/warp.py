"""Carries a picture of one moment over to another one by the simulator's exact optical flow.

Each pixel of the new moment is put back into space with its depth, moved to where its geom was at
the old moment, and looked up in the old picture. What the old picture does not show is filled from
around it.

Shape legend: N objects (see ``frames``), P pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from data_collection.rendering.frames import Frame

_DEPTH_TOLERANCE = 0.02
"""Two depths that differ by less than this share of them, and by less than the surface's slope,
are of the same surface."""

_STEEPEST = 0.1
"""More than this share of its depth from one pixel to the next is an edge and no slope."""

_LEAST_WEIGHT = 0.5
"""The share of a bilinear lookup which has to be on the same surface."""

_STILL = 1e-6
"""Motions smaller than this (metres, radians) are none."""

_EIGHT = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


class Warped(NamedTuple):
    """A picture of another moment, and where the old one showed what it shows."""

    image_hwc: np.ndarray
    """uint8, whole: pixels that are not valid are filled in."""
    valid_hw: np.ndarray
    """bool."""


def warp(image_hwc: np.ndarray, source: Frame, target: Frame) -> Warped:
    """Return the picture (H, W, 3) uint8 of ``source`` as it looks at the moment of ``target``.

    Both are views of the same model by one camera, which may move.
    """
    rotation_n33, shift_n3 = _motions(source, target)
    stays_hw = _stays(rotation_n33, shift_n3)[target.object_hw]
    same_hw = source.object_hw == target.object_hw
    same_hw &= np.abs(source.depth_hw - target.depth_hw) <= _DEPTH_TOLERANCE * target.depth_hw
    valid_hw = stays_hw & same_hw
    warped_hwc = image_hwc.copy()
    moved = np.flatnonzero(~stays_hw)
    if len(moved):
        position_p2, depth_p = _flow(rotation_n33, shift_n3, source, target, moved)
        objects_p = target.object_hw.ravel()[moved]
        colour_pc, weight_p = _look_up(image_hwc, source, position_p2, depth_p, objects_p)
        valid_hw.flat[moved] = weight_p >= _LEAST_WEIGHT
        warped_hwc.reshape(-1, image_hwc.shape[2])[moved] = np.rint(colour_pc)
    return Warped(fill(warped_hwc, valid_hw, target.object_hw), valid_hw)


def flow(source: Frame, target: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Return where each pixel of ``target`` was in ``source``, and how deep.

    The places are (H, W, 2), x and y in pixels, the centre of the first pixel at (0.5, 0.5); the
    depths are (H, W) metres. Both are float32; behind the camera depths are negative.
    """
    shape = target.depth_hw.shape
    every = np.arange(target.depth_hw.size)
    position_p2, depth_p = _flow(*_motions(source, target), source, target, every)
    return position_p2.reshape(*shape, 2), depth_p.reshape(shape)


def _motions(source: Frame, target: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 3, 3) and (N, 3): from the target's camera to the source's, with each object."""
    new, old = target.viewpoint, source.viewpoint
    turn_n33 = source.rotation_n33 @ target.rotation_n33.transpose(0, 2, 1)
    rotation_n33 = old.axes.T @ turn_n33 @ new.axes
    from_object_n3 = (new.position - target.position_n3)[..., None]
    in_world_n3 = (turn_n33 @ from_object_n3)[..., 0] + source.position_n3 - old.position
    return rotation_n33.astype(np.float32), (in_world_n3 @ old.axes).astype(np.float32)


def _stays(rotation_n33: np.ndarray, shift_n3: np.ndarray) -> np.ndarray:
    """Return (N,) bool: what the camera sees in the same place as before."""
    turned_n = np.abs(rotation_n33 - np.eye(3, dtype=np.float32)).max(axis=(1, 2))
    return np.maximum(turned_n, np.abs(shift_n3).max(axis=1)) < _STILL


def _flow(
    rotation_n33: np.ndarray,
    shift_n3: np.ndarray,
    source: Frame,
    target: Frame,
    pixels_p: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return where pixels (flat indices) of the target were in the source, (P, 2) and (P,)."""
    view = target.viewpoint
    depth_p = target.depth_hw.ravel()[pixels_p]
    y_p, x_p = np.divmod(pixels_p, target.depth_hw.shape[1])
    x_p = ((x_p + 0.5 - view.centre_xy[0]) / view.focal_xy[0]).astype(np.float32) * depth_p
    y_p = ((y_p + 0.5 - view.centre_xy[1]) / view.focal_xy[1]).astype(np.float32) * depth_p
    index_p = target.object_hw.ravel()[pixels_p]
    old_x_p, old_y_p, old_depth_p = (
        rotation_n33[:, row, 0][index_p] * x_p
        + rotation_n33[:, row, 1][index_p] * y_p
        + rotation_n33[:, row, 2][index_p] * depth_p
        + shift_n3[:, row][index_p]
        for row in range(3)
    )
    safe_p = np.where(old_depth_p > 0, old_depth_p, 1)
    view = source.viewpoint
    position_p2 = np.stack([old_x_p / safe_p, old_y_p / safe_p], axis=1)
    position_p2 = position_p2 * view.focal_xy.astype(np.float32) + view.centre_xy.astype(np.float32)
    return position_p2, old_depth_p


def _look_up(
    image_hwc: np.ndarray,
    source: Frame,
    position_p2: np.ndarray,
    depth_p: np.ndarray,
    object_p: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return bilinear colours (P, C) float32 and the share (P,) of each that is of its surface.

    Neighbours that show something else do not count, so that edges stay sharp.
    """
    height, width, channels = image_hwc.shape
    # Far outside is outside, too, where numbers no longer fit integers.
    corner_p2 = np.clip(position_p2 - 0.5, -2, np.array([width + 1, height + 1], np.float32))
    low_p2 = np.floor(corner_p2)
    (part_x, part_y), (low_x, low_y) = (corner_p2 - low_p2).T, low_p2.astype(np.int32).T
    pixels = image_hwc.reshape(-1, channels)
    depths, objects = source.depth_hw.ravel(), source.object_hw.ravel()
    tolerances = _slope(source.depth_hw).ravel()
    near_p = _DEPTH_TOLERANCE * depth_p
    total_pc = np.zeros((len(object_p), channels), np.float32)
    weight_p = np.zeros(len(object_p), np.float32)
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = low_x + right, low_y + down
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        at = np.where(inside, y * width + x, 0)
        seen = inside & (objects[at] == object_p) & (depth_p > 0)
        seen &= np.abs(depths[at] - depth_p) <= near_p + tolerances[at]
        share = (part_x if right else 1 - part_x) * (part_y if down else 1 - part_y) * seen
        total_pc += share[:, None] * pixels[at]
        weight_p += share
    return total_pc / np.maximum(weight_p, 1e-6)[:, None], weight_p


def _slope(depth_hw: np.ndarray) -> np.ndarray:
    """Return (H, W): by how much the depth of a surface changes to the next pixels at most."""
    slope = np.zeros_like(depth_hw)
    down, right = np.abs(np.diff(depth_hw, axis=0)), np.abs(np.diff(depth_hw, axis=1))
    slope[:-1], slope[:, :-1] = down, np.maximum(slope[:, :-1], right)
    slope[1:] = np.maximum(slope[1:], down)
    slope[:, 1:] = np.maximum(slope[:, 1:], right)
    return np.minimum(slope, _STEEPEST * depth_hw)


def fill(image_hwc: np.ndarray, known_hw: np.ndarray, object_hw: np.ndarray) -> np.ndarray:
    """Return the picture (uint8) with every pixel that is not known filled in.

    Holes close from their rims, each pixel with the mean of its known neighbours of the same
    object; only where an object has none, other objects lend it theirs. Without any known pixel
    the picture stays as it is.
    """
    height, width, channels = image_hwc.shape
    filled_hwc = image_hwc.copy()
    if known_hw.all():
        return filled_hwc
    known = np.pad(known_hw, 1).ravel()
    objects = np.pad(object_hw, 1, constant_values=-1).ravel()
    colours = np.pad(image_hwc, ((1, 1), (1, 1), (0, 0))).reshape(-1, channels)
    steps = np.array([down * (width + 2) + right for down, right in _EIGHT])
    rows, columns = np.nonzero(~known_hw)
    holes = (rows + 1) * (width + 2) + columns + 1
    while len(holes):
        around = holes[:, None] + steps
        lends = known[around] & (objects[around] == objects[holes, None])
        if not lends.any():
            lends = known[around]
        ready = lends.any(axis=1)
        if not ready.any():
            break
        around, lends, closed = around[ready], lends[ready, :, None], holes[ready]
        total = (colours[around] * lends).sum(axis=1, dtype=np.float32)
        colours[closed] = np.rint(total / lends.sum(axis=1))
        known[closed] = True
        holes = holes[~ready]
    filled_hwc[:] = colours.reshape(height + 2, width + 2, channels)[1:-1, 1:-1]
    return filled_hwc
