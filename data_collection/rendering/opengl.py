"""Drawing with OpenGL, off screen: one context serves every view of a model."""

# mujoco ships no type stubs:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import atexit
import functools
import importlib
import importlib.util
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import mujoco
import numpy as np

from data_collection.rendering.backends import Backend
from data_collection.rendering.views import Picture, View
from trainer.errors import UserError


class OpenGLContext(Protocol):
    """What is used of mujoco's contexts, whichever backend makes them."""

    def make_current(self) -> None:
        """Draw into this context from now on."""
        ...

    def free(self) -> None:
        """Give its memory back."""
        ...


_MAX_GEOMS = 10_000
_ID_FLAGS = [int(mujoco.mjtRndFlag.mjRND_SEGMENT), int(mujoco.mjtRndFlag.mjRND_IDCOLOR)]


def _load_triton_before_mesa() -> None:
    """Import Triton where this process has torch, which may want it later.

    Triton and Mesa's software renderer both bring LLVM; a process that loads Mesa's first crashes
    when torch imports Triton, as it does for every optimizer.
    """
    if "torch" in sys.modules and importlib.util.find_spec("triton"):
        importlib.import_module("triton")


def _new_context(backend: Backend, height: int, width: int) -> OpenGLContext:
    """Return a new context, current; raise UserError when the driver cannot make one."""
    try:
        kind = importlib.import_module(f"mujoco.{backend}").GLContext
        kind._context = None  # its __del__ asks for it even where __init__ did not get so far
        context = kind(width, height)
        context.make_current()
    except Exception as error:  # drivers and PyOpenGL fail in many ways
        raise UserError(
            f"cameras cannot be drawn with {backend}: {error}; where MUJOCO_GL names it, unset "
            "that to have a backend chosen that works, or draw by ray casting (raycast)"
        ) from error
    return context


class OpenGLRenderer:
    """Draws with EGL or OSMesa.

    Unlike ``mujoco.Renderer`` it takes views of any size up to ``height`` x ``width``, reads depth
    and segmentation from one pass, and does not care which backend ``MUJOCO_GL`` named when mujoco
    was imported.

    ``fast`` leaves out shadows, reflections and multi-sampling, which together take nine tenths of
    the time without a GPU. The model itself stays as it is.

    Raises:
        UserError: The driver cannot draw here.
    """

    def __init__(
        self, model: mujoco.MjModel, backend: Backend, height: int, width: int, *, fast: bool
    ) -> None:
        _load_triton_before_mesa()
        self._gl = _new_context(backend, height, width)
        with _quality(model, fast=fast):
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_resizeOffscreen(width, height, self._context)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._model = model
        self._scene = mujoco.MjvScene(model, _MAX_GEOMS)
        if fast:
            self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._open = True
        _close_at_exit().add(self)

    def render(self, data: mujoco.MjData, view: View) -> Picture:
        """Return what ``view`` sees now."""
        self._gl.make_current()
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(
            self._model, data, view.option, None, view.camera, everything, self._scene
        )
        rgb, _ = self._draw(view)
        depth = segmentation = None
        if view.depth or view.segmentation:
            colours, reversed_depth = self._draw_ids(view)
            depth = self._metres(reversed_depth) if view.depth else None
            segmentation = self._object_ids(colours) if view.segmentation else None
        return Picture(rgb, depth, segmentation)

    def close(self) -> None:
        """Free the OpenGL context; closing twice is harmless."""
        if self._open:
            self._open = False
            self._gl.make_current()
            self._context.free()
            self._gl.free()

    def _draw(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Return colours (H, W, 3) uint8 and window depth (H, W) float32: near 1, far 0."""
        rectangle = mujoco.MjrRect(0, 0, view.width, view.height)
        colours = np.empty((view.height, view.width, 3), np.uint8)
        depth = np.empty((view.height, view.width), np.float32)
        mujoco.mjr_render(rectangle, self._scene, self._context)
        mujoco.mjr_readPixels(colours, depth, rectangle, self._context)
        return colours[::-1], depth[::-1]

    def _draw_ids(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Return ``_draw`` with every object in a colour of its own, translucent ones solid."""
        flags = self._scene.flags
        flags[_ID_FLAGS] = 1
        try:
            return self._draw(view)
        finally:
            flags[_ID_FLAGS] = 0

    def _metres(self, reversed_depth: np.ndarray) -> np.ndarray:
        """Return the distance along the optical axis, from OpenGL's perspective projection."""
        camera = self._scene.camera[0]
        near, far = float(camera.frustum_near), float(camera.frustum_far)
        depth = near * far / (near + reversed_depth.astype(np.float64) * (far - near))
        return depth.astype(np.float32)

    def _object_ids(self, colours: np.ndarray) -> np.ndarray:
        """Return (H, W, 2) int32: the id and type behind each colour of ``_draw_ids``."""
        geoms = self._scene.geoms[: self._scene.ngeom]
        object_of_colour = np.full((len(geoms) + 1, 2), -1, np.int32)
        for geom in geoms:
            if geom.segid >= 0:
                object_of_colour[geom.segid + 1] = geom.objid, geom.objtype
        return object_of_colour[colours.astype(np.int32) @ np.array([1, 1 << 8, 1 << 16])]


@contextmanager
def _quality(model: mujoco.MjModel, *, fast: bool) -> Iterator[None]:
    """Lower the qualities that a context takes from its model when it is made."""
    quality = model.vis.quality
    before = quality.offsamples, quality.shadowsize
    if fast:
        quality.offsamples, quality.shadowsize = 0, 0
    try:
        yield
    finally:
        quality.offsamples, quality.shadowsize = before


@functools.cache
def _close_at_exit() -> weakref.WeakSet[OpenGLRenderer]:
    """Return the renderers to close at exit, before mujoco ends EGL under them."""
    renderers: weakref.WeakSet[OpenGLRenderer] = weakref.WeakSet()
    atexit.register(lambda: [renderer.close() for renderer in list(renderers)])
    return renderers
