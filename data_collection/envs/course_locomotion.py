"""The locomotion tasks of the imitation-learning course, as its experts knew them.

The experts were trained with older releases of Gymnasium's models. What has changed since is set
right here: zeros where observations had them, and the mass of Humanoid's capsules.
"""

# mujoco is a compiled package without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import mujoco
import numpy as np

from data_collection.envs.gymnasium_env import GymnasiumEnv
from data_collection.rendering.backends import BackendChoice
from data_collection.rendering.cameras import CameraConfig
from trainer.environment import STATE, Observation
from trainer.registry import environments
from trainer.schema import PlainValue

CourseTask = Literal["hopper", "half_cheetah", "ant", "walker2d", "humanoid"]

_DENSITY = 1000.0  # kg/m³, MuJoCo's default, which Humanoid's model leaves as it is


@dataclass(frozen=True)
class _Task:
    id: str
    make_args: dict[str, PlainValue] = field(default_factory=dict)
    zeros: dict[int, int] = field(default_factory=dict)
    """How many zeros go in front of which index of today's observation."""
    old_masses: bool = False


_TASKS: dict[CourseTask, _Task] = {
    "hopper": _Task("Hopper-v5"),
    "half_cheetah": _Task("HalfCheetah-v5"),
    "ant": _Task("Ant-v5", zeros={27: 6}),
    "walker2d": _Task("Walker2d-v5", make_args={"xml_file": "walker2d.xml"}),
    "humanoid": _Task("Humanoid-v5", zeros={45: 10, 175: 6, 253: 6, 270: 6}, old_masses=True),
}


@environments.register("course_locomotion")
class CourseLocomotion(GymnasiumEnv):
    """One of the course's five tasks: run forward for 1,000 steps without falling.

    States have 11 (hopper), 17 (half_cheetah, walker2d), 111 (ant) or 376 (humanoid) numbers.
    Actions are charged for by their size and not clipped. There is no success, only a return.

    Args:
        task: Which of the five.
        cameras: Cameras of the observation, by name; the models have ``track``.
        renderer: How they are drawn; ``auto`` takes OpenGL where it works.
    """

    def __init__(
        self,
        *,
        task: CourseTask,
        cameras: dict[str, CameraConfig] | None = None,
        renderer: BackendChoice = "auto",
    ) -> None:
        spec = _TASKS[task]
        with _model_of(spec) as model:
            super().__init__(
                id=spec.id, make_args=spec.make_args | model, cameras=cameras, renderer=renderer
            )
        (size,) = self.observation_shapes[STATE]
        before = np.repeat(list(spec.zeros), list(spec.zeros.values())).astype(np.int64)
        self._copied = np.insert(np.ones(size, dtype=bool), before, False)
        """Which numbers of the state come from today's observation."""
        self._same = bool(self._copied.all())
        self.observation_shapes[STATE] = self._copied.shape

    def _observation(self, raw: np.ndarray | dict[str, np.ndarray]) -> Observation:
        observation = super()._observation(raw)
        if self._same:
            return observation
        state = np.zeros(self._copied.shape, dtype=np.float32)
        state[self._copied] = observation[STATE]
        return observation | {STATE: state}


@contextmanager
def _model_of(spec: _Task) -> Iterator[dict[str, PlainValue]]:
    """Yield the argument of ``gymnasium.make`` that names a changed model; empty without one."""
    if not spec.old_masses:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "humanoid.xml"
        assets = resources.files("gymnasium.envs.mujoco") / "assets"
        file.write_text(with_old_capsule_masses((assets / "humanoid.xml").read_text()))
        yield {"xml_file": str(file)}


def with_old_capsule_masses(xml: str) -> str:
    """Return a MuJoCo model in which capsules weigh what they did when the expert was trained.

    That was density · π · r² · (L + r) for a cylinder of length L between two hemispheres; today it
    is density · π · r² · (L + 4r/3). Masses are part of Humanoid's observation.
    """
    model = mujoco.MjModel.from_xml_string(xml)
    tree = ElementTree.fromstring(xml)
    for element in tree.iter("geom"):
        if "name" not in element.attrib:  # defaults have none
            continue
        geom = model.geom(element.attrib["name"])
        if geom.type.item() == mujoco.mjtGeom.mjGEOM_CAPSULE:
            radius, half_length = geom.size[:2].tolist()
            mass_kg = _DENSITY * math.pi * radius**2 * (2 * half_length + radius)
            element.set("mass", repr(mass_kg))
    return ElementTree.tostring(tree, encoding="unicode")
