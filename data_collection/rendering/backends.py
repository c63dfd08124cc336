"""Which way of drawing works on this machine: EGL, OSMesa, or ray casting on the CPU."""

from __future__ import annotations

import functools
import logging
import os
import subprocess
import sys
from typing import Literal

from trainer.errors import UserError

Backend = Literal["egl", "osmesa", "raycast"]
BackendChoice = Literal["auto", "opengl", "egl", "osmesa", "raycast"]
"""``auto`` falls back on ray casting when there is no OpenGL; ``opengl`` does not."""

_OPENGL: tuple[Backend, ...] = ("egl", "osmesa")
_SWITCHED_OFF = ("disable", "disabled", "off", "false", "0")
_PROBE_SECONDS = 60
_PROBE = """
import importlib, sys, mujoco
context = importlib.import_module("mujoco." + sys.argv[1]).GLContext(8, 8)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), 100).free()
context.free()
"""
_INSTALL = "on Debian and Ubuntu install libegl1 and libgl1, or libosmesa6"

logger = logging.getLogger(__name__)


@functools.cache
def choose_backend(choice: BackendChoice = "auto") -> Backend:
    """Return the backend to draw with, and say it aloud once.

    ``MUJOCO_GL`` is believed when it names EGL or OSMesa, or switches OpenGL off. When it is not
    set, each backend is tried in turn and the answer is left in ``MUJOCO_GL``, so that worker
    processes need not try again.

    Raises:
        UserError: OpenGL is asked for and does not work here.
    """
    if choice == "raycast":
        return choice
    failures = []
    for backend in _OPENGL:
        if choice in ("auto", "opengl", backend):
            failure = _failure(backend)
            if failure is None:
                logger.info("cameras are drawn with %s", backend)
                return _remember(backend, mujoco_gl=backend)
            failures.append(f"{backend}: {failure}")
    tried = "; ".join(failures)
    if choice != "auto":
        raise UserError(
            f"cameras need OpenGL ({choice}), which does not work here ({tried}); {_INSTALL}, "
            "or draw by ray casting (raycast, auto)"
        )
    logger.warning(
        "cameras are drawn by ray casting on the CPU, without textures and sites, since OpenGL "
        "does not work here (%s); for OpenGL, %s",
        tried,
        _INSTALL,
    )
    return _remember("raycast", mujoco_gl="disable")


def _failure(backend: Backend) -> str | None:
    """Return why OpenGL does not start through ``backend``, or None when it does."""
    asked = os.environ.get("MUJOCO_GL", "").strip().lower()
    if asked in _SWITCHED_OFF:
        return f"MUJOCO_GL={asked} switches it off"
    if asked in _OPENGL:
        return None if backend == asked else f"MUJOCO_GL={asked} is set"
    return _try(backend)


def _remember(backend: Backend, *, mujoco_gl: str) -> Backend:
    """Return ``backend`` after telling child processes, unless the user has told them already."""
    if not os.environ.get("MUJOCO_GL"):
        os.environ["MUJOCO_GL"] = mujoco_gl
    return backend


def _try(backend: Backend) -> str | None:
    """Return how a first context of ``backend`` fails, or None when it can draw.

    This happens in another process: a broken driver can end the process, and PyOpenGL stays with
    the first platform that it is loaded for.
    """
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE, backend],
            env={**os.environ, "MUJOCO_GL": "disable"},
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {_PROBE_SECONDS} s"
    if probe.returncode == 0:
        return None
    raised, _, _ = probe.stderr.partition("Exception ignored in")  # what clearing up adds
    return (raised.strip().splitlines() or [f"exit code {probe.returncode}"])[-1]
