"""What a camera asks of a renderer, and what it gets back."""

# mujoco ships no type stubs:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import mujoco
import numpy as np

from trainer.errors import ConfigError, nearest

FREE_CAMERA = "free"
"""Every model has this camera: MuJoCo's default free view of the whole scene."""


@dataclass(frozen=True)
class View:
    """One camera of a model: where it looks from, what it shows, how large its pictures are."""

    camera: mujoco.MjvCamera
    option: mujoco.MjvOption
    height: int
    width: int
    depth: bool
    segmentation: bool


class Picture(NamedTuple):
    """What a view sees, rows from the top: colours, and the maps which the view asked for."""

    rgb_hwc: np.ndarray
    """uint8."""
    depth_hw: np.ndarray | None
    """float32 metres along the optical axis; the far clipping plane where there is nothing."""
    segmentation_hwc: np.ndarray | None
    """int32 (id, ``mujoco.mjtObj``) of the geom or site seen; (-1, -1) where there is nothing."""


class Renderer(Protocol):
    """A way of drawing views of one model. It never changes the simulation."""

    def render(self, data: mujoco.MjData, view: View) -> Picture:
        """Return what ``view`` sees now."""
        ...

    def close(self) -> None:
        """Free what the renderer holds; closing twice is harmless."""
        ...


def find_camera(model: mujoco.MjModel, name: str) -> mujoco.MjvCamera:
    """Return the model's camera of this name; raise ConfigError naming the others otherwise."""
    camera = mujoco.MjvCamera()
    if name == FREE_CAMERA:
        mujoco.mjv_defaultFreeCamera(model, camera)
        return camera
    names = [model.camera(i).name for i in range(model.ncam)]
    if name not in names:
        known = ", ".join([*filter(None, names), FREE_CAMERA])
        raise ConfigError(
            f"the model has no camera {name!r}{nearest(name, names)}; its cameras: {known}"
        )
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    camera.fixedcamid = names.index(name)
    return camera


def view_option(*, show_sites: bool) -> mujoco.MjvOption:
    """Return MuJoCo's default choice of what is drawn, with the site markers or without."""
    option = mujoco.MjvOption()
    if not show_sites:
        option.sitegroup[:] = 0
    return option
