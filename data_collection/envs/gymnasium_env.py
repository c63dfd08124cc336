"""Any Gymnasium environment with numbers for observations and actions, by its id."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TypeVar

import gymnasium
import numpy as np
from gymnasium import spaces
from pydantic import PositiveFloat, PositiveInt

from data_collection.envs import mujoco_state
from data_collection.envs.mujoco_views import SimulationViews
from data_collection.rendering.backends import BackendChoice
from data_collection.rendering.cameras import CameraConfig
from data_collection.rendering.views import FREE_CAMERA
from trainer.environment import STATE, Environment, Observation, StepResult
from trainer.errors import ConfigError, UserError, nearest
from trainer.registry import environments
from trainer.schema import PlainValue

_PLUGINS = ("gymnasium_robotics", "gym_pusht")
"""Packages which register further environments when they are installed."""

_FILM_CAMERA = "track"
"""The camera of Gymnasium's own models that follows the robot."""

N = TypeVar("N", int, float)

_GOAL_PARTS = ("observation", "desired_goal")


@dataclass(frozen=True)
class _State:
    seed: int
    simulation: mujoco_state.SimulationState


@environments.register("gymnasium_env")
class GymnasiumEnv(Environment):
    """A Gymnasium environment; the state is its observation as float32.

    A goal environment's observation and desired goal are joined. Success is ``is_success`` or
    ``success`` of the step's info, False where there is none. Actions are passed on as they are:
    where an action costs by its size, clipping would change the reward.

    Args:
        id: Such as ``Hopper-v5``.
        make_args: Further arguments of ``gymnasium.make``.
        max_steps: Horizon, needed where the registration gives none.
        control_hz: Actions a second, needed where the environment does not say.
        cameras: Cameras of the observation, by name; MuJoCo environments only.
        renderer: How they are drawn; ``auto`` takes OpenGL where it works.

    Raises:
        ConfigError: The id or a camera is unknown, the arguments do not fit, or the spaces hold
            no plain vectors of numbers.
    """

    def __init__(
        self,
        *,
        id: str,
        make_args: dict[str, PlainValue] | None = None,
        max_steps: PositiveInt | None = None,
        control_hz: PositiveFloat | None = None,
        cameras: dict[str, CameraConfig] | None = None,
        renderer: BackendChoice = "auto",
    ) -> None:
        self._id = id
        self._env = _make(id, make_args or {}, max_steps)
        self._sizes = _observation_sizes(id, self._env.observation_space)
        self.views = _views(id, self._env, cameras, renderer)
        self.observation_shapes = {STATE: (sum(self._sizes.values()),)}
        if self.views:
            self.observation_shapes |= self.views.shapes
        self.action_dim = _vector_size(id, "action", self._env.action_space)
        self.max_steps = max_steps or _required(
            id, "max_steps", self._env.spec.max_episode_steps if self._env.spec else None
        )
        self.control_hz = control_hz or _required(id, "control_hz", _control_hz(self._env))
        self._seed: int | None = None

    def reset(self, seed: int) -> Observation:
        """Start the episode of ``seed`` and return its first observation."""
        raw, _ = self._env.reset(seed=seed)
        self._seed = seed
        return self._observation(raw)

    def step(self, action: np.ndarray) -> StepResult:
        """Apply one action (A,) for one control period."""
        raw, reward, terminated, truncated, info = self._env.step(action)
        return StepResult(
            observation=self._observation(raw),
            reward=float(reward),
            terminated=bool(terminated),
            truncated=bool(truncated),
            success=bool(info.get("is_success", info.get("success", False))),
        )

    def render(self) -> np.ndarray:
        """Return an RGB picture (H, W, 3) uint8; raise UserError where there is none."""
        if self.views:
            return self.views.picture()
        picture = self._env.render() if self._env.render_mode == "rgb_array" else None
        if not isinstance(picture, np.ndarray):
            raise UserError(
                f"{self._id}: pictures need 'render_mode: rgb_array' in the environment's make_args"
            )
        return picture

    def save_state(self) -> object:
        """Return everything that decides the future; raise UserError unless MuJoCo simulates."""
        if self.views is None:
            raise UserError(f"{self._id}: only MuJoCo environments can save their state")
        if self._seed is None:
            raise UserError(f"{self._id}: reset the environment before saving its state")
        return _State(self._seed, mujoco_state.save(self._env))

    def restore_state(self, state: object) -> None:
        """Return exactly to ``state``, also when it belongs to another episode of this id."""
        if not isinstance(state, _State):
            raise UserError(f"{self._id}: cannot restore a state of type {type(state).__name__}")
        if state.seed != self._seed:  # what an episode fixes is a function of its seed
            self.reset(state.seed)
        mujoco_state.restore(self._env, state.simulation)

    def describe(self) -> dict[str, object]:
        """Return how the cameras are drawn."""
        return self.views.describe() if self.views else {}

    def close(self) -> None:
        """Free windows and renderers."""
        if self.views:
            self.views.close()
        self._env.close()

    def _observation(self, raw: np.ndarray | dict[str, np.ndarray]) -> Observation:
        if isinstance(raw, dict):
            raw = np.concatenate([raw[name] for name in self._sizes])
        observation = {STATE: raw.astype(np.float32)}
        if self.views and not self.imagined:
            observation |= self.views.observe()
        return observation


def _make(id: str, make_args: dict[str, PlainValue], max_steps: int | None) -> gymnasium.Env:
    """Return the environment without Gymnasium's own checks at every step."""
    for name in _PLUGINS:
        if importlib.util.find_spec(name):
            gymnasium.register_envs(importlib.import_module(name))
    if id not in gymnasium.registry:
        raise ConfigError(f"no Gymnasium environment {id!r}{nearest(id, gymnasium.registry)}")
    try:
        return gymnasium.make(
            id, max_episode_steps=max_steps, disable_env_checker=True, **make_args
        )
    except (TypeError, ValueError, OSError, gymnasium.error.Error) as error:
        raise ConfigError(f"{id} cannot be made with {make_args}: {error}") from error


def _views(
    id: str,
    env: gymnasium.Env,
    cameras: dict[str, CameraConfig] | None,
    renderer: BackendChoice,
) -> SimulationViews | None:
    """Return the cameras on the simulation, None where MuJoCo does not simulate."""
    simulation = mujoco_state.simulation_of(env)
    if simulation is None:
        if cameras:
            raise ConfigError(f"{id}: only MuJoCo environments can have cameras")
        return None
    names = [simulation.model.camera(i).name for i in range(simulation.model.ncam)]
    film_camera = _FILM_CAMERA if _FILM_CAMERA in names else FREE_CAMERA
    return SimulationViews(simulation, cameras, film_camera=film_camera, renderer=renderer)


def _observation_sizes(id: str, space: spaces.Space) -> dict[str, int]:
    """Return the sizes of the vectors that make up the state, by name."""
    if not isinstance(space, spaces.Dict):
        return {"observation": _vector_size(id, "observation", space)}
    missing = [name for name in _GOAL_PARTS if name not in space.spaces]
    if missing:
        raise ConfigError(
            f"{id}: expected {_GOAL_PARTS} in its observation, got {sorted(space.spaces)}"
        )
    return {name: _vector_size(id, name, space[name]) for name in _GOAL_PARTS}


def _vector_size(id: str, name: str, space: spaces.Space) -> int:
    """Return the length of a vector of numbers; raise ConfigError when ``space`` is none."""
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise ConfigError(f"{id}: expected a vector of numbers (Box) as {name}, got {space}")
    return space.shape[0]


def _control_hz(env: gymnasium.Env) -> float | None:
    period_s = getattr(env.unwrapped, "dt", None)
    return 1.0 / period_s if isinstance(period_s, float) else env.metadata.get("render_fps")


def _required(id: str, name: str, value: N | None) -> N:
    if value is None:
        raise ConfigError(f"{id} does not say its {name}; give {name} in the environment's params")
    return value
