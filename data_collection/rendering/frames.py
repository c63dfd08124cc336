"""Where a camera and everything it sees are at one moment: what warping a picture needs to know.

Shape legend: N geoms, then sites, then a last entry for all else, which never moves.
"""

# mujoco ships no type stubs:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from data_collection.rendering.views import View
from trainer.errors import ConfigError

_GEOM, _SITE = int(mujoco.mjtObj.mjOBJ_GEOM), int(mujoco.mjtObj.mjOBJ_SITE)


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """A pinhole camera.

    A point ``p`` is seen at ``focal * (x, y) / z + centre``, in pixels, where ``(x, y, z)`` is
    ``axes.T @ (p - position)``; the centre of the first pixel is at (0.5, 0.5).
    """

    focal_xy: np.ndarray
    centre_xy: np.ndarray
    position: np.ndarray
    """(3,) metres."""
    axes: np.ndarray
    """(3, 3): its columns point right, down and forward in the picture."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera's view of one moment, without its colours."""

    depth_hw: np.ndarray
    """float32 metres along the optical axis."""
    object_hw: np.ndarray
    """int: which of the N each pixel shows."""
    viewpoint: Viewpoint
    position_n3: np.ndarray
    rotation_n33: np.ndarray


def viewpoint(model: mujoco.MjModel, data: mujoco.MjData, view: View, *, turned: bool) -> Viewpoint:
    """Return where a camera looks from; ``turned``: its pictures are rotated by 180°.

    Raises:
        ConfigError: It is orthographic.
    """
    scene = mujoco.MjvScene(model, 1)
    mujoco.mjv_updateCamera(model, data, view.camera, scene)
    camera = mujoco.mjv_averageCamera(*scene.camera)
    if camera.orthographic:
        raise ConfigError(
            "generated pictures are warped in perspective, and this camera is orthographic; use "
            "another one"
        )
    height = camera.frustum_top - camera.frustum_bottom
    width = 2 * camera.frustum_width or height * view.width / view.height
    pixels = np.array([view.width / width, view.height / height])
    centre = pixels * [width / 2 - camera.frustum_center, camera.frustum_top]
    forward, up = camera.forward.astype(np.float64), camera.up.astype(np.float64)
    axes = np.stack([np.cross(forward, up), -up, forward], axis=1)
    if turned:
        centre = np.array([view.width, view.height]) - centre
        axes[:, :2] *= -1
    focal = pixels * camera.frustum_near
    return Viewpoint(focal, centre, camera.pos.astype(np.float64), axes)


def object_indices(model: mujoco.MjModel, segmentation_2hw: np.ndarray) -> np.ndarray:
    """Return (H, W) int32: which of the N each pixel shows, from (id, ``mjtObj``)."""
    ids, kinds = segmentation_2hw
    index = np.full(ids.shape, model.ngeom + model.nsite, np.int32)
    geoms, sites = kinds == _GEOM, kinds == _SITE
    index[geoms] = ids[geoms]
    index[sites] = model.ngeom + ids[sites]
    return index


def object_poses(model: mujoco.MjModel, data: mujoco.MjData) -> tuple[np.ndarray, np.ndarray]:
    """Return copies of the positions (N, 3) and rotations (N, 3, 3) of all geoms and sites."""
    position = np.concatenate([data.geom_xpos, data.site_xpos, np.zeros((1, 3))])
    rotation = np.concatenate([data.geom_xmat, data.site_xmat, np.eye(3).reshape(1, 9)])
    return position, rotation.reshape(-1, 3, 3)


def rigid_parts(model: mujoco.MjModel) -> np.ndarray:
    """Return (N,) int32: the number of the rigid part that each is of, 0 for the background.

    The background is whatever stands on its own and cannot move: floor, walls, tables. What cannot
    move but belongs to something that can, such as the case of a drawer, is a part of its own.
    """
    with_joints = np.unique(model.body_rootid[model.jnt_bodyid])
    movable = np.isin(model.body_rootid, with_joints)
    welded = np.where(model.body_weldid > 0, model.body_weldid, model.body_rootid)
    part_of_body = np.where(movable, welded, 0)
    parts = [part_of_body[model.geom_bodyid], part_of_body[model.site_bodyid], [0]]
    return np.concatenate(parts).astype(np.int32)
