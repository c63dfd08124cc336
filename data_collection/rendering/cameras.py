"""Cameras of a MuJoCo environment: what an observation sees, under the names of batch keys."""

# mujoco ships no type stubs:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Annotated

import mujoco
import numpy as np
from pydantic import Field

from data_collection.episodes.schema import SEGMENTATION_PREFIX
from data_collection.rendering.backends import Backend, BackendChoice, choose_backend
from data_collection.rendering.frames import Frame, object_indices, object_poses, viewpoint
from data_collection.rendering.opengl import OpenGLRenderer
from data_collection.rendering.raycast import RaycastRenderer
from data_collection.rendering.views import Picture, Renderer, View, find_camera, view_option
from trainer.environment import DEPTH_PREFIX, IMAGE_PREFIX, Observation
from trainer.errors import ConfigError
from trainer.schema import Strict

Pixels = Annotated[int, Field(ge=2, le=8192)]
"""Ray casting takes normals from neighbouring pixels; OpenGL has a largest picture."""

logger = logging.getLogger(__name__)


class CameraConfig(Strict):
    """One camera of an environment's YAML."""

    camera: str
    """Its name in the model, or ``free`` for MuJoCo's default view of the whole scene."""
    height: Pixels
    width: Pixels
    depth: bool = False
    segmentation: bool = False
    rotate_180: bool | None = None
    """Turn the picture; null turns the cameras which the environment knows to be upside down."""
    show_sites: bool = False
    """Draw the model's markers. They may show a goal that nobody could see in reality."""


def observation_shapes(cameras: Mapping[str, CameraConfig]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every key that a rig with these cameras renders."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, config in cameras.items():
        size = config.height, config.width
        shapes[IMAGE_PREFIX + name] = (3, *size)
        if config.depth:
            shapes[DEPTH_PREFIX + name] = (1, *size)
        if config.segmentation:
            shapes[SEGMENTATION_PREFIX + name] = (2, *size)
    return shapes


class CameraRig:
    """Any number of cameras on one model, drawn by one renderer.

    Rendering leaves the simulation bit-identical, and draws it as ``data`` describes it: poses are
    those of the last ``mj_forward`` or ``mj_step``.

    Args:
        model: what the cameras look at.
        cameras: name in the batch keys -> camera.
        backend: see ``choose_backend``.
        fast: leave out shadows, reflections and multi-sampling (OpenGL only).
        upside_down: cameras of the model whose pictures need turning by 180°.

    Raises:
        ConfigError: the model lacks a camera, or a name cannot be part of a batch key.
        UserError: ``backend`` does not work on this machine.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        cameras: Mapping[str, CameraConfig],
        *,
        backend: BackendChoice = "auto",
        fast: bool = True,
        upside_down: Collection[str] = (),
    ) -> None:
        self.cameras = {name: _settled(name, c, upside_down) for name, c in cameras.items()}
        self.shapes = observation_shapes(self.cameras)
        self._model = model
        self._views = {name: _view(model, name, c) for name, c in self.cameras.items()}
        self.backend: Backend = choose_backend(backend)
        self.fast = fast
        self._renderer: Renderer
        if self.backend == "raycast":
            self._renderer = RaycastRenderer(model)
            self._warn_about_sites()
        else:
            height = max((c.height for c in self.cameras.values()), default=2)
            width = max((c.width for c in self.cameras.values()), default=2)
            self._renderer = OpenGLRenderer(model, self.backend, height, width, fast=fast)

    def render(self, data: mujoco.MjData) -> Observation:
        """Return what every camera sees now.

        ``observation.images.<name>`` (3, H, W) uint8; ``observation.depth.<name>`` (1, H, W)
        float32, metres along the optical axis, the far clipping plane where there is nothing;
        ``observation.segmentation.<name>`` (2, H, W) int32, id and ``mujoco.mjtObj`` of the geom or
        site, both -1 where there is nothing.
        """
        observation: Observation = {}
        for name in self.cameras:
            picture = self._picture(data, name)
            observation[IMAGE_PREFIX + name] = _channels_first(picture.rgb_hwc)
            if picture.depth_hw is not None:
                observation[DEPTH_PREFIX + name] = _channels_first(picture.depth_hw[..., None])
            if picture.segmentation_hwc is not None:
                key = SEGMENTATION_PREFIX + name
                observation[key] = _channels_first(picture.segmentation_hwc)
        return observation

    def picture(self, data: mujoco.MjData, name: str) -> np.ndarray:
        """Return what one camera sees now as (H, W, 3) uint8, for videos."""
        return np.ascontiguousarray(self._picture(data, name).rgb_hwc)

    def frame(self, data: mujoco.MjData, name: str, seen: Observation) -> Frame:
        """Return where one camera and all that it shows are now, as ``seen`` was just rendered.

        Raises:
            ConfigError: The camera is orthographic.
        """
        turned = self.cameras[name].rotate_180 is True
        position, rotation = object_poses(self._model, data)
        return Frame(
            depth_hw=seen[DEPTH_PREFIX + name][0],
            object_hw=object_indices(self._model, seen[SEGMENTATION_PREFIX + name]),
            viewpoint=viewpoint(self._model, data, self._views[name], turned=turned),
            position_n3=position,
            rotation_n33=rotation,
        )

    def describe(self) -> dict[str, object]:
        """Return the settings that decide every pixel, as plain values for a round's config."""
        cameras = {name: config.model_dump() for name, config in self.cameras.items()}
        return {"backend": self.backend, "fast": self.fast, "cameras": cameras}

    def close(self) -> None:
        """Free the renderer; closing twice is harmless."""
        self._renderer.close()

    def _picture(self, data: mujoco.MjData, name: str) -> Picture:
        """Return what one camera sees, the right way up."""
        picture = self._renderer.render(data, self._views[name])
        return _turned(picture) if self.cameras[name].rotate_180 else picture

    def _warn_about_sites(self) -> None:
        markers = [name for name, config in self.cameras.items() if config.show_sites]
        if markers:
            logger.warning("ray casting draws no sites, which %s should show", ", ".join(markers))


def _settled(name: str, config: CameraConfig, upside_down: Collection[str]) -> CameraConfig:
    """Return the config with ``rotate_180`` decided."""
    if not name.isidentifier():
        raise ConfigError(
            f"cameras.{name}: a camera's name becomes part of a batch key; expected letters, "
            f"digits and underscores, got {name!r}"
        )
    if config.rotate_180 is not None:
        return config
    return config.model_copy(update={"rotate_180": config.camera in upside_down})


def _view(model: mujoco.MjModel, name: str, config: CameraConfig) -> View:
    """Return the camera resolved against the model."""
    try:
        camera = find_camera(model, config.camera)
    except ConfigError as error:
        raise ConfigError(f"cameras.{name}.camera: {error}") from error
    return View(
        camera=camera,
        option=view_option(show_sites=config.show_sites),
        height=config.height,
        width=config.width,
        depth=config.depth,
        segmentation=config.segmentation,
    )


def _turned(picture: Picture) -> Picture:
    """Return the picture rotated by 180°."""
    rgb, depth, segmentation = picture
    return Picture(
        rgb[::-1, ::-1],
        None if depth is None else depth[::-1, ::-1],
        None if segmentation is None else segmentation[::-1, ::-1],
    )


def _channels_first(layer_hwc: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(layer_hwc, -1, 0))
