"""What a MuJoCo environment shows: cameras of its observation, and one to film episodes with."""

# mujoco is a compiled package without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from data_collection.envs.mujoco_state import HasSimulation
from data_collection.rendering.backends import BackendChoice
from data_collection.rendering.cameras import CameraConfig, CameraRig, observation_shapes
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
