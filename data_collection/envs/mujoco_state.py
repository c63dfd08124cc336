"""Saves and restores everything that decides the future of a MuJoCo environment, to the bit."""

# mujoco is a compiled package without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import gymnasium
import mujoco
import numpy as np

_INTEGRATION = mujoco.mjtState.mjSTATE_INTEGRATION

# mj_step leaves these one substep behind qpos and qvel, and environments read them between steps:
# mj_forward alone would bring them ahead of where they were.
# fmt: off
_DERIVED = (
    "qacc", "qacc_warmstart", "xpos", "xquat", "xmat", "xipos", "ximat", "geom_xpos", "geom_xmat",
    "site_xpos", "site_xmat", "cam_xpos", "cam_xmat", "subtree_com", "cinert", "cvel", "cacc",
    "cfrc_int", "cfrc_ext", "qfrc_actuator", "qfrc_constraint", "actuator_length",
    "actuator_velocity", "actuator_force", "sensordata", "ten_length", "ten_velocity",
)
# fmt: on


class HasSimulation(Protocol):
    """What a MuJoCo environment keeps its simulation in."""

    model: mujoco.MjModel
    data: mujoco.MjData


@dataclass(frozen=True)
class SimulationState:
    """A moment of an episode; ``attributes`` holds the plain attributes of each wrapper layer."""

    integration: np.ndarray
    derived: dict[str, np.ndarray]
    attributes: list[dict[str, object]]


def simulation_of(environment: gymnasium.Env) -> HasSimulation | None:
    """Return the innermost environment when it holds a MuJoCo model and its data."""
    inner = environment.unwrapped
    is_mujoco = isinstance(getattr(inner, "model", None), mujoco.MjModel) and isinstance(
        getattr(inner, "data", None), mujoco.MjData
    )
    return cast(HasSimulation, inner) if is_mujoco else None


def save(environment: gymnasium.Env) -> SimulationState:
    """Return the state of the simulation, of every wrapper and of their random generators."""
    simulation = cast(HasSimulation, environment.unwrapped)
    integration = np.empty(mujoco.mj_stateSize(simulation.model, _INTEGRATION))
    mujoco.mj_getState(simulation.model, simulation.data, integration, _INTEGRATION)
    return SimulationState(
        integration,
        {name: getattr(simulation.data, name).copy() for name in _DERIVED},
        [_plain_attributes(layer) for layer in _layers(environment)],
    )


def restore(environment: gymnasium.Env, state: SimulationState) -> None:
    """Return to ``state``, which was saved in the same episode (the same reset)."""
    simulation = cast(HasSimulation, environment.unwrapped)
    mujoco.mj_setState(simulation.model, simulation.data, state.integration, _INTEGRATION)
    mujoco.mj_forward(simulation.model, simulation.data)
    for name, values in state.derived.items():
        getattr(simulation.data, name)[...] = values
    for layer, attributes in zip(_layers(environment), state.attributes, strict=True):
        for name, value in attributes.items():
            current = vars(layer)[name]
            if isinstance(current, np.random.Generator):
                current.bit_generator.state = value
            else:
                setattr(layer, name, copy.deepcopy(value))


def _layers(environment: gymnasium.Env) -> Iterator[gymnasium.Env]:
    """Yield the environment and those inside it: wrapped ones and robots that are environments."""
    yield environment
    for value in vars(environment).values():
        if isinstance(value, gymnasium.Env):
            yield from _layers(value)


def _plain_attributes(layer: gymnasium.Env) -> dict[str, object]:
    saved: dict[str, object] = {}
    for name, value in vars(layer).items():
        if isinstance(value, np.random.Generator):
            saved[name] = copy.deepcopy(value.bit_generator.state)
        elif _is_plain(value):
            saved[name] = copy.deepcopy(value)
    return saved


def _is_plain(value: object) -> bool:
    """Return whether ``value`` is data of its own; a view is not: it follows the simulation."""
    if isinstance(value, np.ndarray):
        return value.base is None and not value.dtype.hasobject
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple | deque):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | np.generic)
