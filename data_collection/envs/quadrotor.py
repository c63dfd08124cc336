"""The physics of a small quadrotor, for many of them at once, on the CPU or a GPU.

A rigid body with four motors that lag behind their commands, in air that may move. Constants are
those of a Crazyflie 2.0: Förster, System Identification of the Crazyflie 2.0 Nano Quadrocopter,
ETH Zurich, 2015; the drag is of the size that its table 4.2 gives for hovering rotors.

World axes: x forward, y left, z up. Body axes the same, seen from the vehicle.

Shape legend: N quadrotors; 3 and 4 say what they are (vector, quaternion w-x-y-z, motors).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

GRAVITY = 9.81
"""m/s²"""


@dataclass(frozen=True)
class Airframe:
    """What a quadrotor is made of."""

    mass_kg: float = 0.028
    inertia_kg_m2: tuple[float, float, float] = (1.66e-5, 1.67e-5, 2.93e-5)
    arm_m: float = 0.046
    """From the centre to each motor; the arms form an X."""
    max_thrust_n: float = 0.15
    """Of each motor."""
    torque_per_thrust_m: float = 0.00596
    motor_time_constant_s: float = 0.04
    drag_n_s_per_m: float = 0.02
    """Force against the velocity relative to the air."""

    @property
    def max_collective_n(self) -> float:
        """The thrust of all motors together, at most."""
        return 4 * self.max_thrust_n

    def mixing(self) -> Tensor:
        """Return (4, 4) float64: from the motors' thrusts to total thrust and body torques."""
        lever = self.arm_m / math.sqrt(2)
        spin = self.torque_per_thrust_m
        # Front left, rear left, rear right, front right; neighbours turn against each other.
        return torch.tensor(
            [
                [1.0, 1.0, 1.0, 1.0],
                [lever, lever, -lever, -lever],
                [-lever, lever, lever, -lever],
                [-spin, spin, -spin, spin],
            ],
            dtype=torch.float64,
        )


@dataclass(frozen=True)
class QuadrotorState:
    """Where N quadrotors are and how they move."""

    position_n3: Tensor
    velocity_n3: Tensor
    quaternion_n4: Tensor
    """From body to world axes."""
    rates_n3: Tensor
    """Angular velocity in body axes, rad/s."""
    thrust_n4: Tensor
    """What each motor gives at this moment, newtons."""

    def where(self, chosen_n: Tensor, other: QuadrotorState) -> QuadrotorState:
        """Return this state, with the rows of ``other`` where ``chosen_n`` (N,) holds."""
        chosen_n1 = chosen_n[:, None]
        return QuadrotorState(
            **{
                name: torch.where(chosen_n1, getattr(other, name), value)
                for name, value in vars(self).items()
            }
        )


class Quadrotor:
    """Steps the equations of motion, and holds the controller of body rates.

    Args:
        airframe: What it is made of.
        dt_s: Length of a step.
        device: Where the states are.
        dtype: Of the states.
    """

    def __init__(
        self,
        airframe: Airframe,
        dt_s: float,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.airframe = airframe
        self.dt_s = dt_s
        mixing = airframe.mixing()
        self._thrusts_to_wrench = mixing.T.to(device, dtype).contiguous()
        self._wrench_to_thrusts = mixing.inverse().T.to(device, dtype).contiguous()
        self._inertia = torch.tensor(airframe.inertia_kg_m2, device=device, dtype=dtype)
        self._gravity = torch.tensor([0.0, 0.0, GRAVITY], device=device, dtype=dtype)
        self._lag = 1 - math.exp(-dt_s / airframe.motor_time_constant_s)

    def step(
        self, state: QuadrotorState, command_n4: Tensor, wind_n3: Tensor, mass_n1: Tensor
    ) -> QuadrotorState:
        """Return the states after ``dt_s``.

        The motors' lag is exact for a constant command, positions for a constant acceleration;
        rotation is integrated by the midpoint rule, the quaternion by its exponential.

        Args:
            state: Where they are.
            command_n4: The thrust asked of each motor, newtons.
            wind_n3: The velocity of the air, world axes.
            mass_n1: The mass of each with what it carries, at its centre.
        """
        dt = self.dt_s
        thrust_n4 = torch.lerp(state.thrust_n4, command_n4, self._lag)
        wrench_n4 = thrust_n4 @ self._thrusts_to_wrench
        push_n3 = thrust_axis(state.quaternion_n4) * wrench_n4[:, :1]
        drag_n3 = (wind_n3 - state.velocity_n3) * self.airframe.drag_n_s_per_m
        acceleration_n3 = (push_n3 + drag_n3) / mass_n1 - self._gravity
        torque_n3 = wrench_n4[:, 1:]
        middle_n3 = state.rates_n3 + self._turn(state.rates_n3, torque_n3) * (dt / 2)
        return replace(
            state,
            position_n3=state.position_n3 + (state.velocity_n3 + acceleration_n3 * (dt / 2)) * dt,
            velocity_n3=state.velocity_n3 + acceleration_n3 * dt,
            quaternion_n4=rotated(state.quaternion_n4, middle_n3 * dt),
            rates_n3=state.rates_n3 + self._turn(middle_n3, torque_n3) * dt,
            thrust_n4=thrust_n4,
        )

    def motor_commands(self, collective_n1: Tensor, torque_n3: Tensor) -> Tensor:
        """Return the thrusts (N, 4) that give a total thrust and torques, as far as motors can."""
        thrusts_n4 = torch.cat([collective_n1, torque_n3], dim=1) @ self._wrench_to_thrusts
        return thrusts_n4.clamp(0.0, self.airframe.max_thrust_n)

    def rate_torques(self, wanted_n3: Tensor, rates_n3: Tensor, gain_3: Tensor) -> Tensor:
        """Return the torques that bring the body rates to the wanted ones with ``gain_3`` (1/s)."""
        return (wanted_n3 - rates_n3) * (gain_3 * self._inertia)

    def _turn(self, rates_n3: Tensor, torque_n3: Tensor) -> Tensor:
        """Return the angular acceleration: Euler's equation of a rigid body."""
        momentum_n3 = rates_n3 * self._inertia
        return (torque_n3 - torch.linalg.cross(rates_n3, momentum_n3)) / self._inertia


def rotated(quaternion_n4: Tensor, angle_n3: Tensor) -> Tensor:
    """Return the attitude after a turn by the vector ``angle_n3`` (rad, body axes)."""
    half_n1 = torch.linalg.vector_norm(angle_n3, dim=1, keepdim=True) / 2
    # sin(h)/h is sinc(h/π) in torch's convention, finite at zero.
    vector_n3 = angle_n3 * (torch.sinc(half_n1 / math.pi) / 2)
    turn_w, turn_x, turn_y, turn_z = half_n1.cos().squeeze(1), *vector_n3.unbind(1)
    w, x, y, z = quaternion_n4.unbind(1)
    product_n4 = torch.stack(
        [
            w * turn_w - x * turn_x - y * turn_y - z * turn_z,
            w * turn_x + x * turn_w + y * turn_z - z * turn_y,
            w * turn_y - x * turn_z + y * turn_w + z * turn_x,
            w * turn_z + x * turn_y - y * turn_x + z * turn_w,
        ],
        dim=1,
    )
    return product_n4 / torch.linalg.vector_norm(product_n4, dim=1, keepdim=True)


def thrust_axis(quaternion_n4: Tensor) -> Tensor:
    """Return the body's z axis (N, 3) in world axes."""
    w, x, y, z = quaternion_n4.unbind(1)
    return torch.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], dim=1)


def rotation_matrix(quaternion_n4: Tensor) -> Tensor:
    """Return the matrices (N, 3, 3) whose columns are the body's axes in world axes."""
    w, x, y, z = quaternion_n4.unbind(1)
    entries_n9 = torch.stack(
        [
            1 - 2 * (y * y + z * z),
            2 * (x * y - w * z),
            2 * (x * z + w * y),
            2 * (x * y + w * z),
            1 - 2 * (x * x + z * z),
            2 * (y * z - w * x),
            2 * (x * z - w * y),
            2 * (y * z + w * x),
            1 - 2 * (x * x + y * y),
        ],
        dim=1,
    )
    return entries_n9.unflatten(1, (3, 3))
