"""Physics against closed forms, in float64."""

import math

import pytest
import torch

from data_collection.envs.quadrotor import (
    GRAVITY,
    Airframe,
    Quadrotor,
    QuadrotorState,
    rotated,
    rotation_matrix,
    thrust_axis,
)

CPU, F64 = torch.device("cpu"), torch.float64
NO_DRAG = Airframe(drag_n_s_per_m=0.0)


def still(count=1, **changes):
    level = torch.tensor([[1.0, 0, 0, 0]], dtype=F64).repeat(count, 1)
    zeros = torch.zeros(count, 3, dtype=F64)
    state = {
        "position_n3": zeros,
        "velocity_n3": zeros,
        "quaternion_n4": level,
        "rates_n3": zeros,
        "thrust_n4": torch.zeros(count, 4, dtype=F64),
    }
    return QuadrotorState(**(state | changes))


def flown(airframe, state, command, seconds, *, dt=0.005, wind=(0, 0, 0), mass=None):
    quadrotor = Quadrotor(airframe, dt, CPU, F64)
    count = len(state.position_n3)
    wind = torch.tensor([wind], dtype=F64).expand(count, 3)
    mass = torch.full((count, 1), mass or airframe.mass_kg, dtype=F64)
    for _ in range(round(seconds / dt)):
        state = quadrotor.step(state, command, wind, mass)
    return state


def rotational_energy(state, airframe):
    inertia = torch.tensor(airframe.inertia_kg_m2, dtype=F64)
    return 0.5 * (inertia * state.rates_n3.square()).sum(1)


def test_free_fall_is_a_parabola():
    velocity = torch.tensor([[1.0, -2.0, 3.0]], dtype=F64)
    after = flown(NO_DRAG, still(velocity_n3=velocity), torch.zeros(1, 4, dtype=F64), 0.8)
    down = torch.tensor([[0, 0, -GRAVITY]], dtype=F64)
    torch.testing.assert_close(after.position_n3, velocity * 0.8 + down * 0.32)
    torch.testing.assert_close(after.velocity_n3, velocity + down * 0.8)


def test_a_free_fall_keeps_its_energy():
    velocity = torch.tensor([[1.0, -2.0, 3.0]], dtype=F64)
    rates = torch.tensor([[4.0, -7.0, 9.0]], dtype=F64)
    before = still(velocity_n3=velocity, rates_n3=rates)
    after = flown(NO_DRAG, before, torch.zeros(1, 4, dtype=F64), 1.0)

    def energy(state):
        height, speed2 = state.position_n3[:, 2], state.velocity_n3.square().sum(1)
        moving = NO_DRAG.mass_kg * (GRAVITY * height + 0.5 * speed2)
        return moving, rotational_energy(state, NO_DRAG)

    (moved, turned), (moving, turning) = energy(before), energy(after)
    torch.testing.assert_close(moving, moved)
    torch.testing.assert_close(turning, turned, rtol=1e-3, atol=0)


def test_angular_momentum_keeps_its_direction_in_the_world():
    rates = torch.tensor([[4.0, -7.0, 9.0]], dtype=F64)
    inertia = torch.tensor(NO_DRAG.inertia_kg_m2, dtype=F64)

    def momentum(state):
        return (rotation_matrix(state.quaternion_n4) @ (inertia * state.rates_n3)[..., None])[
            ..., 0
        ]

    before = still(rates_n3=rates)
    after = flown(NO_DRAG, before, torch.zeros(1, 4, dtype=F64), 1.0, dt=0.001)
    torch.testing.assert_close(momentum(after), momentum(before), rtol=1e-4, atol=1e-9)
    assert (after.quaternion_n4 - before.quaternion_n4).abs().max() > 0.1


@pytest.mark.parametrize("payload", [0.0, 0.005])
def test_it_hovers_on_thrust_that_equals_its_weight(payload):
    mass = NO_DRAG.mass_kg + payload
    thrust = torch.full((1, 4), mass * GRAVITY / 4, dtype=F64)
    after = flown(NO_DRAG, still(thrust_n4=thrust), thrust, 2.0, mass=mass)
    torch.testing.assert_close(after.position_n3, torch.zeros(1, 3, dtype=F64), atol=1e-12, rtol=0)
    torch.testing.assert_close(after.rates_n3, torch.zeros(1, 3, dtype=F64), atol=1e-12, rtol=0)


def test_it_falls_at_the_speed_that_drag_allows_and_drifts_with_the_wind():
    airframe = Airframe(drag_n_s_per_m=0.1)
    time_constant = airframe.mass_kg / 0.1
    none = torch.zeros(1, 4, dtype=F64)
    early = flown(airframe, still(), none, 0.3, dt=0.0005)
    terminal = GRAVITY * time_constant
    expected = -terminal * (1 - math.exp(-0.3 / time_constant))
    assert float(early.velocity_n3[0, 2]) == pytest.approx(expected, rel=2e-3)
    late = flown(airframe, still(), none, 20 * time_constant, wind=(1.5, -0.5, 0.0))
    torch.testing.assert_close(
        late.velocity_n3[0], torch.tensor([1.5, -0.5, -terminal], dtype=F64), rtol=1e-3, atol=1e-6
    )


def test_motors_follow_their_commands_with_their_time_constant():
    command = torch.tensor([[0.1, 0.05, 0.0, 0.15]], dtype=F64)
    constant = NO_DRAG.motor_time_constant_s
    after = flown(NO_DRAG, still(), command, constant, dt=constant / 8)
    torch.testing.assert_close(after.thrust_n4, command * (1 - math.exp(-1)))


def test_torques_turn_it_the_way_the_motors_say():
    quadrotor = Quadrotor(NO_DRAG, 0.001, CPU, F64)
    for axis in range(3):
        torque = torch.zeros(1, 3, dtype=F64)
        torque[0, axis] = 1e-4
        motors = quadrotor.motor_commands(torch.tensor([[0.3]], dtype=F64), torque)
        after = flown(NO_DRAG, still(thrust_n4=motors), motors, 0.01, dt=0.001)
        expected = torch.zeros(1, 3, dtype=F64)
        expected[0, axis] = 1e-4 / NO_DRAG.inertia_kg_m2[axis] * 0.01
        torch.testing.assert_close(after.rates_n3, expected, rtol=1e-6, atol=1e-9)
        assert float(motors.sum()) == pytest.approx(0.3)


def test_motors_neither_pull_nor_exceed_their_limit():
    quadrotor = Quadrotor(NO_DRAG, 0.001, CPU, F64)
    torque = torch.tensor([[1.0, 0.0, 0.0]], dtype=F64)
    motors = quadrotor.motor_commands(torch.tensor([[0.3]], dtype=F64), torque)
    assert motors.tolist() == [[0.15, 0.15, 0.0, 0.0]]


def test_a_quarter_turn_about_x_lays_the_thrust_axis_to_the_right():
    level = torch.tensor([[1.0, 0, 0, 0]], dtype=F64)
    turned = rotated(level, torch.tensor([[math.pi / 2, 0, 0]], dtype=F64))
    expected = torch.tensor([[0.0, -1.0, 0.0]], dtype=F64)
    torch.testing.assert_close(thrust_axis(turned), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(rotation_matrix(turned)[:, :, 2], expected, atol=1e-12, rtol=0)
