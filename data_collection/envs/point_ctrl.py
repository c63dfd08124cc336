"""Point-to-point control of a small quadrotor, many at once: the embedded distillation task.

Shape legend: N environments; positions are relative to the goal, metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from tensordict import TensorDict
from torch import Tensor

from data_collection.distillation.vec_env import SUCCESS, TIME_OUTS, vector_environments
from data_collection.envs.delayed_view import DelayedView
from data_collection.envs.quadrotor import (
    GRAVITY,
    Airframe,
    Quadrotor,
    QuadrotorState,
    rotated,
    rotation_matrix,
)

MAX_RATES = (8.0, 8.0, 3.0)
"""Body rates that an action of one asks for, rad/s."""
_RATE_GAINS = (12.0, 12.0, 6.0)
"""1/s; with the motors' lag of 40 ms roll and pitch are damped at 0.7."""
_REWARD_SCALE_M = 0.3
_SUCCESS_DISTANCE_M = 0.1
_SUCCESS_HOLD_S = 0.5
_LOST_DISTANCE_M = 3.0
_POSE, _ACTION = 9, 4
_PRIVILEGED = {"position": 3, "velocity": 3, "rotation": 9, "rates": 3, "wind": 3, "mass": 1}


@dataclass(frozen=True)
class PrivilegedState:
    """The observation group ``teacher``, taken apart: the truth, without noise or delay."""

    position_n3: Tensor
    velocity_n3: Tensor
    rotation_n33: Tensor
    rates_n3: Tensor
    wind_n3: Tensor
    mass_n1: Tensor

    @classmethod
    def unpack(cls, observation_np: Tensor) -> PrivilegedState:
        """Return the parts of the group (N, 22)."""
        position, velocity, rotation, rates, wind, mass = observation_np.split(
            list(_PRIVILEGED.values()), dim=1
        )
        return cls(position, velocity, rotation.unflatten(1, (3, 3)), rates, wind, mass)


@vector_environments.register("point_ctrl")
class PointCtrl:
    """N Crazyflie-class quadrotors, each to fly to its goal and stay there, in wind, with a load.

    An action is the total thrust (-1: none, 1: all) and three body rates (1: ``MAX_RATES``), held
    by a controller under which the motors' lag and limits remain. Reward: 1 at the goal, one half
    at 30 cm; an episode ends early, and pays no more, upside down or 3 m away. Success: the last
    half second of a whole episode within 10 cm.

    Observation groups: ``teacher``, see ``PrivilegedState``; ``student``, at each of ``history``
    moments the noisy, delayed position and attitude (two columns of the rotation matrix) and the
    latest command that was given before. Velocity, wind and mass it has to make out itself.

    Args:
        num_envs: N.
        device: Where everything is computed.
        seed: Of everything random.
        episode_s: Length of an episode.
        control_hz: Actions a second.
        physics_steps: Steps of the physics for each action.
        history: Moments that the student sees.
        history_stride: Actions between two of them.
        delay: Actions by which a pose is late.
        position_noise_m: Standard deviation of each coordinate.
        attitude_noise: Standard deviation of each entry of the rotation matrix.
        wind_m_per_s: Largest speed of the wind, which is constant in an episode.
        payload_kg: Largest load.
        start_m: Largest distance of the start from the goal along each axis.
    """

    def __init__(
        self,
        num_envs: PositiveInt,
        device: torch.device,
        seed: int,
        *,
        episode_s: PositiveFloat = 5.0,
        control_hz: PositiveFloat = 50.0,
        physics_steps: PositiveInt = 2,
        history: PositiveInt = 5,
        history_stride: PositiveInt = 3,
        delay: NonNegativeInt = 2,
        position_noise_m: NonNegativeFloat = 0.005,
        attitude_noise: NonNegativeFloat = 0.005,
        wind_m_per_s: NonNegativeFloat = 1.0,
        payload_kg: NonNegativeFloat = 0.004,
        start_m: Annotated[float, Field(gt=0, le=1.5)] = 1.0,
    ) -> None:
        self.num_envs, self.num_actions = num_envs, _ACTION
        self.device = device
        self.max_episode_length = round(episode_s * control_hz)
        self.cfg = {"control_hz": control_hz}
        self._airframe = Airframe()
        self._physics_steps = physics_steps
        self._quadrotor = Quadrotor(self._airframe, 1 / (control_hz * physics_steps), device)
        self._noise = torch.tensor(
            [position_noise_m] * 3 + [attitude_noise] * (_POSE - 3), device=device
        )
        self._wind_m_per_s, self._payload_kg, self._start_m = wind_m_per_s, payload_kg, start_m
        self._hold_steps = round(_SUCCESS_HOLD_S * control_hz)
        self._max_rates = torch.tensor(MAX_RATES, device=device)
        self._rate_gains = torch.tensor(_RATE_GAINS, device=device)
        self._generator = torch.Generator(device).manual_seed(seed)
        self._poses = DelayedView(num_envs, _POSE, history, history_stride, delay, device)
        self._commands = DelayedView(num_envs, _ACTION, history, history_stride, 0, device)
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long, device=device)
        self._held_n = torch.zeros(num_envs, dtype=torch.long, device=device)
        self._hover_n4 = self._hover()
        self._state, self._wind_n3, self._mass_n1 = self._start()
        self._show(torch.ones(num_envs, dtype=torch.bool, device=device), self._hover_n4)

    def get_observations(self) -> TensorDict:
        """Return the groups ``student`` (N, history · 13) and ``teacher`` (N, 22)."""
        state = self._state
        rotation_n9 = rotation_matrix(state.quaternion_n4).flatten(1)
        privileged = [state.position_n3, state.velocity_n3, rotation_n9, state.rates_n3]
        return TensorDict(
            {
                "student": torch.cat([self._poses.look(), self._commands.look()], dim=1),
                "teacher": torch.cat([*privileged, self._wind_n3, self._mass_n1], dim=1),
            },
            batch_size=[self.num_envs],
            device=self.device,
        )

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict]:
        """Fly for one control period; see ``VecEnv.step``."""
        command_n4 = actions.clamp(-1.0, 1.0)
        self._state = self._fly(command_n4)
        self.episode_length_buf = self.episode_length_buf + 1
        distance_n = torch.linalg.vector_norm(self._state.position_n3, dim=1)
        upside_down_n = self._axis_z() < 0
        lost_n = (distance_n > _LOST_DISTANCE_M) | upside_down_n
        time_out_n = (self.episode_length_buf >= self.max_episode_length) & ~lost_n
        reward_n = (1 / (1 + (distance_n / _REWARD_SCALE_M).square())) * ~lost_n
        self._held_n = (self._held_n + 1) * (distance_n < _SUCCESS_DISTANCE_M)
        success_n = time_out_n & (self._held_n >= self._hold_steps)
        done_n = lost_n | time_out_n
        self._begin_again(done_n, command_n4)
        extras = {TIME_OUTS: time_out_n, SUCCESS: success_n}
        return self.get_observations(), reward_n, done_n, extras

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that decides the future."""
        return {
            **{f"state.{name}": value for name, value in vars(self._state).items()},
            "wind": self._wind_n3,
            "mass": self._mass_n1,
            "held": self._held_n,
            "episode_length": self.episode_length_buf,
            "poses": self._poses.samples,
            "poses_newest": torch.tensor(self._poses.newest),
            "commands": self._commands.samples,
            "commands_newest": torch.tensor(self._commands.newest),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what ``state_dict`` returned."""
        here = {name: value.to(self.device, copy=True) for name, value in state.items()}
        self._state = QuadrotorState(
            **{name: here[f"state.{name}"] for name in vars(self._state)},
        )
        self._wind_n3, self._mass_n1 = here["wind"], here["mass"]
        self._held_n, self.episode_length_buf = here["held"], here["episode_length"]
        self._poses.samples, self._commands.samples = here["poses"], here["commands"]
        self._poses.newest = int(state["poses_newest"])
        self._commands.newest = int(state["commands_newest"])
        self._generator.set_state(state["generator"].cpu())

    def _fly(self, command_n4: Tensor) -> QuadrotorState:
        collective_n1 = (command_n4[:, :1] + 1) * (self._airframe.max_collective_n / 2)
        wanted_n3 = command_n4[:, 1:] * self._max_rates
        state = self._state
        for _ in range(self._physics_steps):
            torque_n3 = self._quadrotor.rate_torques(wanted_n3, state.rates_n3, self._rate_gains)
            motors_n4 = self._quadrotor.motor_commands(collective_n1, torque_n3)
            state = self._quadrotor.step(state, motors_n4, self._wind_n3, self._mass_n1)
        return state

    def _begin_again(self, done_n: Tensor, command_n4: Tensor) -> None:
        """Put new episodes in the place of those that are done, and show what there is to see."""
        state, wind_n3, mass_n1 = self._start()
        done_n1 = done_n[:, None]
        self._state = self._state.where(done_n, state)
        self._wind_n3 = torch.where(done_n1, wind_n3, self._wind_n3)
        self._mass_n1 = torch.where(done_n1, mass_n1, self._mass_n1)
        self.episode_length_buf = self.episode_length_buf * ~done_n
        self._held_n = self._held_n * ~done_n
        self._show(done_n, torch.where(done_n1, self._hover_n4, command_n4))

    def _show(self, begins_n: Tensor, command_n4: Tensor) -> None:
        rotation_n33 = rotation_matrix(self._state.quaternion_n4)
        pose_n9 = torch.cat([self._state.position_n3, rotation_n33[:, :, :2].flatten(1)], dim=1)
        self._poses.push(pose_n9 + self._normal(_POSE) * self._noise, begins_n)
        self._commands.push(command_n4, begins_n)

    def _start(self) -> tuple[QuadrotorState, Tensor, Tensor]:
        """Return fresh states, winds (N, 3) and masses (N, 1)."""
        uniform_n5 = torch.rand(
            self.num_envs, 5, generator=self._generator, device=self._generator.device
        )
        normal_n9 = self._normal(9)
        level_n4 = torch.zeros(self.num_envs, 4, device=self.device)
        level_n4[:, 0] = 1.0
        wind_n3 = torch.zeros(self.num_envs, 3, device=self.device)
        heading_n, speed_n = uniform_n5[:, 3] * (2 * torch.pi), uniform_n5[:, 4]
        wind_n3[:, 0] = heading_n.cos() * speed_n * self._wind_m_per_s
        wind_n3[:, 1] = heading_n.sin() * speed_n * self._wind_m_per_s
        load_n1 = torch.rand(
            self.num_envs, 1, generator=self._generator, device=self._generator.device
        )
        mass_n1 = self._airframe.mass_kg + load_n1 * self._payload_kg
        state = QuadrotorState(
            position_n3=(2 * uniform_n5[:, :3] - 1) * self._start_m,
            velocity_n3=0.3 * normal_n9[:, :3],
            quaternion_n4=rotated(level_n4, 0.2 * normal_n9[:, 3:6]),
            rates_n3=0.5 * normal_n9[:, 6:],
            thrust_n4=(mass_n1 * (GRAVITY / 4)).expand(-1, 4).clone(),
        )
        return state, wind_n3, mass_n1

    def _hover(self) -> Tensor:
        """Return the command that holds an unloaded vehicle up."""
        share = self._airframe.mass_kg * GRAVITY / self._airframe.max_collective_n
        command_n4 = torch.zeros(self.num_envs, _ACTION, device=self.device)
        command_n4[:, 0] = 2 * share - 1
        return command_n4

    def _normal(self, size: int) -> Tensor:
        return torch.randn(
            self.num_envs, size, generator=self._generator, device=self._generator.device
        )

    def _axis_z(self) -> Tensor:
        """Return how far up each body's z axis points (N,)."""
        x_n, y_n = self._state.quaternion_n4[:, 1], self._state.quaternion_n4[:, 2]
        return 1 - 2 * (x_n.square() + y_n.square())
