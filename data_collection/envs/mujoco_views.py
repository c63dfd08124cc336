"""What a MuJoCo environment shows: cameras of its observation, and one to film episodes with."""

# mujoco is a compiled package without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from data_collection.envs.mujoco_state import HasSimulation
from data_collection.rendering.backends import BackendChoice
from data_collection.rendering.cameras import CameraConfig, CameraRig, observation_shapes
from data_collection.rendering.frames import Frame, rigid_parts
from trainer.environment import Observation

_FILM = "film"
_FILM_PIXELS = 320


class SimulationViews:
    """The cameras on one simulation. Nothing is rendered, nor a renderer started, unasked.

    Args:
        simulation: Whose model and data are shown.
        cameras: Cameras of the observation, by name.
        film_camera: The model's camera that films episodes.
        renderer: See ``rendering.backends.choose_backend``.
        upside_down: The model's cameras whose pictures need turning by 180°.

    Raises:
        ConfigError: The model lacks a camera.
        UserError: ``renderer`` does not work on this machine.
    """

    def __init__(
        self,
        simulation: HasSimulation,
        cameras: Mapping[str, CameraConfig] | None,
        *,
        film_camera: str,
        renderer: BackendChoice,
        upside_down: Collection[str] = (),
    ) -> None:
        self._simulation = simulation
        self._film_camera = film_camera
        self._renderer: BackendChoice = renderer
        self._upside_down = upside_down
        self._film: CameraRig | None = None
        self._observed = self._rig(cameras) if cameras else None
        self.shapes = observation_shapes(cameras or {})

    def observe(self) -> Observation:
        """Return what the observation's cameras see now, by batch key."""
        return self._observed.render(self._simulation.data) if self._observed else {}

    @property
    def cameras(self) -> Mapping[str, CameraConfig]:
        """Return the observation's cameras, by name."""
        return self._observed.cameras if self._observed else {}

    @property
    def rigid_parts(self) -> np.ndarray:
        """Return the number of the rigid part of each object of a frame (see ``rigid_parts``)."""
        return rigid_parts(self._simulation.model)

    def frame(self, camera: str, seen: Observation) -> Frame:
        """Return where a camera and all that it shows are now, as ``seen`` was just observed.

        Raises:
            ConfigError: The camera is orthographic.
        """
        if self._observed is None:
            raise ValueError("there are no cameras")
        return self._observed.frame(self._simulation.data, camera, seen)

    def describe(self) -> dict[str, object]:
        """Return the settings that decide every pixel; empty without cameras."""
        return {"rendering": self._observed.describe()} if self._observed else {}

    def picture(self) -> np.ndarray:
        """Return a frame (H, W, 3) uint8 for videos, markers such as goals included."""
        if self._film is None:
            camera = CameraConfig(
                camera=self._film_camera, height=_FILM_PIXELS, width=_FILM_PIXELS, show_sites=True
            )
            self._film = self._rig({_FILM: camera})
        return self._film.picture(self._simulation.data, _FILM)

    def close(self) -> None:
        """Free the renderers."""
        for rig in filter(None, (self._observed, self._film)):
            rig.close()

    def _rig(self, cameras: Mapping[str, CameraConfig]) -> CameraRig:
        return CameraRig(
            self._simulation.model,
            cameras,
            backend=self._renderer,
            upside_down=self._upside_down,
        )


@runtime_checkable
class HasViews(Protocol):
    """An environment with cameras on a MuJoCo simulation; None where it has no simulation."""

    views: SimulationViews | None
