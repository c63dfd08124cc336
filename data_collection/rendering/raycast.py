"""Drawing without OpenGL: one ray a pixel, cast on the CPU by MuJoCo's collision geometry."""

# mujoco ships no type stubs:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mujoco
import numpy as np

from data_collection.rendering.views import Picture, View
from trainer.errors import ConfigError

_BACKGROUND = 0.5
_AMBIENT = 0.35
_LIGHT = np.array([0.3, 0.2, 0.93])
"""Direction of the one lamp: from above, a little aside, so that faces of a box differ."""

_UNSET_RGBA = np.array([0.5, 0.5, 0.5, 1.0], np.float32)
"""A geom of exactly this colour takes its material's."""


class RaycastRenderer:
    """Draws geoms in flat colours under one lamp; depth and segmentation are exact.

    Textures become their mean colour. Sites, tendons and other decoration are not drawn.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._scene = mujoco.MjvScene(model, 1)
        self._texture_means = _texture_means(model)

    def render(self, data: mujoco.MjData, view: View) -> Picture:
        """Return what ``view`` sees now; raise ConfigError for an orthographic camera."""
        mujoco.mjv_updateCamera(self._model, data, view.camera, self._scene)
        camera = mujoco.mjv_averageCamera(*self._scene.camera)
        if camera.orthographic:
            raise ConfigError(
                "ray casting draws perspective cameras only, and this one is orthographic; "
                "use another camera, or OpenGL"
            )
        rays, cosine = _rays(camera, view.height, view.width)
        geom, distance = self._cast(data, view, camera, rays, cosine)
        depth = np.where(geom < 0, np.inf, distance * cosine)
        geom[depth >= camera.frustum_far] = -1
        depth = np.minimum(depth, camera.frustum_far).astype(np.float32)
        kind = np.where(geom < 0, -1, int(mujoco.mjtObj.mjOBJ_GEOM))
        return Picture(
            self._shade(geom, camera.pos + rays * distance[..., None]),
            depth if view.depth else None,
            np.stack([geom, kind], -1).astype(np.int32) if view.segmentation else None,
        )

    def close(self) -> None:
        """Return at once: there is nothing to free."""

    def _cast(
        self,
        data: mujoco.MjData,
        view: View,
        camera: mujoco.MjvGLCamera,
        rays: np.ndarray,
        cosine: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the geom (H, W), -1 for none, that each ray meets first, and how far away.

        What lies before the near plane is clipped, as in OpenGL: there a camera inside a body
        looks through it, so the rays are cast again without that body.
        """
        geom, distance = self._cast_past(-1, data, view, camera, rays)
        clipped = (geom >= 0) & (distance * cosine < camera.frustum_near)
        for body in np.unique(self._model.geom_bodyid[geom[clipped]]):
            of_body = clipped & (self._model.geom_bodyid[geom] == body)
            beyond = self._cast_past(body, data, view, camera, rays[of_body])
            geom[of_body], distance[of_body] = beyond
        return geom, distance

    def _cast_past(
        self,
        body: int,
        data: mujoco.MjData,
        view: View,
        camera: mujoco.MjvGLCamera,
        rays: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return geoms and distances for rays (..., 3) which pass through one body (-1: none)."""
        shape = rays.shape[:-1]
        count = rays.size // 3
        geom, distance = np.empty(count, np.int32), np.empty(count)
        origin = camera.pos.astype(np.float64)
        with _every_body_tested(self._model):
            mujoco.mj_multiRay(
                self._model,
                data,
                origin,
                rays.ravel(),
                view.option.geomgroup,
                1,
                body,
                geom,
                distance,
                count,
                mujoco.mjMAXVAL,
            )
        return geom.reshape(shape), distance.reshape(shape)

    def _shade(self, geom: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return (H, W, 3) uint8: Lambert shading, with normals from neighbouring points."""
        normal = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12
        brightness = _AMBIENT + (1 - _AMBIENT) * np.abs(normal @ _LIGHT)
        rgb = self._geom_colours()[geom] * brightness[..., None]
        rgb[geom < 0] = _BACKGROUND
        return (255 * rgb.clip(0, 1)).astype(np.uint8)

    def _geom_colours(self) -> np.ndarray:
        """Return (ngeom, 3) in [0, 1]: a geom's own colour or its material's, times its texture."""
        model = self._model
        colours = model.geom_rgba[:, :3].copy()
        has_material = model.geom_matid >= 0
        takes_material = has_material & (model.geom_rgba == _UNSET_RGBA).all(1)
        colours[takes_material] = model.mat_rgba[model.geom_matid[takes_material], :3]
        colours[has_material] *= self._texture_means[model.geom_matid[has_material]]
        return colours


@contextmanager
def _every_body_tested(model: mujoco.MjModel) -> Iterator[None]:
    """Hide the bounding volumes by which mj_multiRay skips bodies.

    Up to MuJoCo 3.4 it skips too many: long thin geoms seen from close by, and geoms without
    collisions outside the volume of those with. Without volumes it agrees with mj_ray exactly.
    """
    volumes = model.body_bvhadr.copy()
    model.body_bvhadr[:] = -1
    try:
        yield
    finally:
        model.body_bvhadr[:] = volumes


def _rays(camera: mujoco.MjvGLCamera, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return unit rays (H, W, 3) through the pixel centres, and their cosine to the axis (H, W)."""
    half_width = camera.frustum_width
    if half_width == 0:
        half_width = (camera.frustum_top - camera.frustum_bottom) / 2 * width / height
    across = camera.frustum_center + half_width * (2 * (np.arange(width) + 0.5) / width - 1)
    downwards = (np.arange(height) + 0.5) / height
    up = camera.frustum_top + (camera.frustum_bottom - camera.frustum_top) * downwards
    x, y = np.meshgrid(across / camera.frustum_near, up / camera.frustum_near)
    cosine = 1 / np.sqrt(x**2 + y**2 + 1)
    right = np.cross(camera.forward, camera.up)
    rays = camera.forward + x[..., None] * right + y[..., None] * camera.up
    return rays * cosine[..., None], cosine


def _texture_means(model: mujoco.MjModel) -> np.ndarray:
    """Return (nmat, 3) in [0, 1]: the mean colour of each material's texture, white for none."""
    means = np.ones((model.nmat, 3))
    for material, texture in enumerate(model.mat_texid[:, mujoco.mjtTextureRole.mjTEXROLE_RGB]):
        if texture >= 0:
            channels = model.tex_nchannel[texture]
            size = model.tex_height[texture] * model.tex_width[texture] * channels
            start = model.tex_adr[texture]
            texels = model.tex_data[start : start + size].reshape(-1, channels)[:, :3]
            means[material] = texels.mean(0) / 255
    return means
