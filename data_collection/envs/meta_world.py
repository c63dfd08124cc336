"""The 50 manipulation tasks of Meta-World (version 3): 39 state numbers, 4 action numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from pydantic import NonNegativeInt

from data_collection.envs import mujoco_state
from data_collection.envs.disturbance import Disturbance, DisturbanceConfig, DisturbanceState
from data_collection.envs.mujoco_views import SimulationViews
from data_collection.rendering.backends import BackendChoice
from data_collection.rendering.cameras import CameraConfig
from trainer.environment import STATE, TASK, Environment, Observation, StepResult
from trainer.errors import ConfigError, UserError, nearest
from trainer.registry import environments

_SEEN = {
    "full": np.arange(39),
    "without_goal": np.arange(36),
    "proprioception": np.r_[0:4, 18:22],
}
_UPSIDE_DOWN = ("corner", "corner2", "corner3", "corner4")


@dataclass(frozen=True)
class _State:
    seed: int
    steps: int
    full_state: np.ndarray
    disturbance: DisturbanceState | None
    simulation: mujoco_state.SimulationState


@environments.register("meta_world")
class MetaWorld(Environment):
    """One Meta-World task; every reset draws object and goal positions from the seed alone.

    The state is: hand position (3), gripper opening (1), positions and quaternions of up to two
    objects (14), the same 18 numbers one step earlier, and the goal position (3). Actions (hand
    displacement (3), gripper effort (1)) are clipped to [-1, 1].

    Args:
        task: Such as ``pick-place-v3``.
        state: How much of it is observed: ``full``, ``without_goal`` (the first 36 numbers), or
            ``proprioception`` (hand and gripper alone, now and one step earlier: 8 numbers).
        cameras: Cameras of the observation, by name. The model has topview, corner, corner2,
            corner3, corner4, behindGripper and gripperPOV; the last two move with the hand.
        renderer: How they are drawn; ``auto`` takes OpenGL where it works.
        disturbance: Noise and pushes on the actions.
        task_index: Observed as ``task``, for policies that learn several tasks; each has its own.

    Raises:
        ConfigError: There is no such task or camera.
    """

    max_steps = 500
    action_dim = 4

    def __init__(
        self,
        *,
        task: str,
        state: Literal["full", "without_goal", "proprioception"] = "full",
        cameras: dict[str, CameraConfig] | None = None,
        renderer: BackendChoice = "auto",
        disturbance: DisturbanceConfig | None = None,
        task_index: NonNegativeInt | None = None,
    ) -> None:
        if task not in ALL_V3_ENVIRONMENTS:
            known = ", ".join(ALL_V3_ENVIRONMENTS)
            raise ConfigError(
                f"no Meta-World task {task!r}{nearest(task, ALL_V3_ENVIRONMENTS)}; tasks: {known}"
            )
        self.task = task
        self._simulation = _build(task)
        self._seen = _SEEN[state]
        self.views = SimulationViews(
            self._simulation,
            cameras,
            film_camera="corner4",
            renderer=renderer,
            upside_down=_UPSIDE_DOWN,
        )
        self._task = {} if task_index is None else {TASK: np.array(task_index, dtype=np.int64)}
        self.observation_shapes = {STATE: self._seen.shape} | self.views.shapes
        self.observation_shapes |= {key: value.shape for key, value in self._task.items()}
        self.control_hz = 1.0 / self._simulation.dt
        self._disturbance = Disturbance(disturbance, self.action_dim) if disturbance else None
        self._seed: int | None = None
        self._steps = 0
        self._full_state = np.zeros(39)

    @property
    def full_state(self) -> np.ndarray:
        """A copy of the whole state (39,) float64, the goal included: what experts act on."""
        return self._full_state.copy()

    def reset(self, seed: int) -> Observation:
        """Start the episode of ``seed`` and return its first observation."""
        self._simulation.seed(seed)  # reset(seed=…) would be ignored
        self._full_state, _ = self._simulation.reset()
        if self._disturbance:
            self._disturbance.reset(seed)
        self._seed, self._steps = seed, 0
        return self._observation()

    def step(self, action: np.ndarray) -> StepResult:
        """Apply one action (4,) for one control period; an episode can go on past ``max_steps``."""
        # The horizon is counted here: the simulation would raise when stepped past its own.
        self._simulation.curr_path_length = 0
        if self._disturbance and not self.imagined:
            action = self._disturbance.applied_to(action)
        clipped = np.clip(action, -1.0, 1.0).astype(np.float32)
        self._full_state, reward, _, _, info = self._simulation.step(clipped)
        self._steps += 1
        return StepResult(
            observation=self._observation(),
            reward=float(reward),
            terminated=False,
            truncated=self._steps >= self.max_steps,
            success=bool(info["success"]),
        )

    def render(self) -> np.ndarray:
        """Return an RGB picture (H, W, 3) uint8 of the table, the goal's marker included."""
        return self.views.picture()

    def save_state(self) -> object:
        """Return everything that decides the future; raise UserError before the first reset."""
        if self._seed is None:
            raise UserError("meta_world: reset the environment before saving its state")
        return _State(
            self._seed,
            self._steps,
            self.full_state,
            self._disturbance.save() if self._disturbance else None,
            mujoco_state.save(self._simulation),
        )

    def restore_state(self, state: object) -> None:
        """Return exactly to ``state``, also when it belongs to another episode of this task."""
        if not isinstance(state, _State):
            raise UserError(f"meta_world: cannot restore a state of type {type(state).__name__}")
        if state.seed != self._seed:  # what an episode fixes is a function of its seed
            self.reset(state.seed)
        mujoco_state.restore(self._simulation, state.simulation)
        if self._disturbance and state.disturbance:
            self._disturbance.restore(state.disturbance)
        self._steps, self._full_state = state.steps, state.full_state.copy()

    def describe(self) -> dict[str, object]:
        """Return how the cameras are drawn."""
        return self.views.describe()

    def close(self) -> None:
        """Free the renderers."""
        self.views.close()
        self._simulation.close()

    def _observation(self) -> Observation:
        state = self._full_state[self._seen].astype(np.float32)
        observation = {STATE: state} | self._task
        return observation if self.imagined else observation | self.views.observe()


def _build(task: str) -> SawyerXYZEnv:
    """Return the raw simulation: goal visible, positions drawn from its own seeded generator."""
    simulation = ALL_V3_ENVIRONMENTS[task]()
    simulation._partially_observable = False
    simulation._freeze_rand_vec = False
    simulation._set_task_called = True
    simulation.seeded_rand_vec = True
    # Cached while the goal was hidden, this space would clip the goal to zeros at every step.
    vars(simulation).pop("sawyer_observation_space", None)
    return simulation
