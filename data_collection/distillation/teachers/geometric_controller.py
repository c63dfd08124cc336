"""A tracking controller for quadrotors that knows the truth: the teacher of ``point_ctrl``.

Shape legend: N environments; 3 is a vector in world axes where nothing else is said.
"""

from __future__ import annotations

import torch
from pydantic import PositiveFloat
from torch import Tensor

from data_collection.distillation.teachers import VectorTeacher, vector_teachers
from data_collection.envs.point_ctrl import MAX_RATES, PrivilegedState
from data_collection.envs.quadrotor import GRAVITY, Airframe


@vector_teachers.register("geometric_controller")
class GeometricController(VectorTeacher):
    """Turns the thrust axis towards the force that is needed; wind and mass are known.

    Source: Lee, Leok and McClamroch, Geometric tracking control of a quadrotor UAV on SE(3), 2010,
    eqs. 10, 12 and 15, with body rates as the inner loop's input instead of torques.

    Args:
        position_gain: Acceleration for each metre from the goal, 1/s².
        velocity_gain: Acceleration for each metre a second, 1/s.
        attitude_gain: Body rate for each radian of attitude error, 1/s.
        max_acceleration: Largest acceleration asked for beside gravity, m/s².
    """

    observation_size, num_actions = 22, 4

    def __init__(
        self,
        device: torch.device,
        *,
        position_gain: PositiveFloat = 9.0,
        velocity_gain: PositiveFloat = 5.0,
        attitude_gain: PositiveFloat = 8.0,
        max_acceleration: PositiveFloat = 5.0,
    ) -> None:
        self.position_gain, self.velocity_gain = position_gain, velocity_gain
        self.attitude_gain = attitude_gain
        self.max_acceleration = max_acceleration
        self._airframe = Airframe()
        self._up = torch.tensor([0.0, 0.0, GRAVITY], device=device)
        self._forward = torch.tensor([1.0, 0.0, 0.0], device=device)
        self._max_rates = torch.tensor(MAX_RATES, device=device)

    def __call__(self, observation_np: Tensor) -> Tensor:
        """Return total thrust and body rates (N, 4), each between -1 and 1."""
        truth = PrivilegedState.unpack(observation_np)
        wanted_n3 = -self.position_gain * truth.position_n3 - self.velocity_gain * truth.velocity_n3
        size_n1 = torch.linalg.vector_norm(wanted_n3, dim=1, keepdim=True)
        wanted_n3 = wanted_n3 * (self.max_acceleration / size_n1.clamp(min=self.max_acceleration))
        drag_n3 = (truth.wind_n3 - truth.velocity_n3) * self._airframe.drag_n_s_per_m
        force_n3 = truth.mass_n1 * (wanted_n3 + self._up) - drag_n3
        axis_n3 = truth.rotation_n33[:, :, 2]
        collective_n1 = (force_n3 * axis_n3).sum(1, keepdim=True)
        rates_n3 = self._rates(truth.rotation_n33, force_n3) / self._max_rates
        thrust_n1 = 2 * collective_n1 / self._airframe.max_collective_n - 1
        return torch.cat([thrust_n1, rates_n3], dim=1).clamp(-1.0, 1.0)

    def _rates(self, rotation_n33: Tensor, force_n3: Tensor) -> Tensor:
        """Return the body rates (N, 3) that turn the vehicle towards the force, facing forward."""
        up_n3 = torch.nn.functional.normalize(force_n3, dim=1)
        left_n3 = torch.nn.functional.normalize(
            torch.linalg.cross(up_n3, self._forward.expand_as(up_n3)), dim=1
        )
        wanted_n33 = torch.stack([torch.linalg.cross(left_n3, up_n3), left_n3, up_n3], dim=2)
        error_n33 = wanted_n33.transpose(1, 2) @ rotation_n33
        skew_n33 = (error_n33 - error_n33.transpose(1, 2)) / 2
        error_n3 = torch.stack([skew_n33[:, 2, 1], skew_n33[:, 0, 2], skew_n33[:, 1, 0]], dim=1)
        return -self.attitude_gain * error_n3
