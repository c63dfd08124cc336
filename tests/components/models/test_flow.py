import math

import pytest
import torch

from components.models.flow import Flow, beta_times, integrate


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def no_pad(action):
    return torch.zeros(action.shape[:2], dtype=torch.bool)


def test_of_a_padded_step_only_noise_is_seen():
    action = torch.full((2000, 4, 2), 7.0)
    is_pad = no_pad(action)
    is_pad[:, 2:] = True
    sample = Flow().draw(action, is_pad, seeded())
    assert torch.equal(sample.x_1[:, :2], action[:, :2])
    padded = sample.x_1[:, 2:]
    assert padded.mean().item() == pytest.approx(0, abs=0.03)
    assert padded.std().item() == pytest.approx(1, abs=0.03)
    independent = torch.corrcoef(torch.stack([padded.flatten(), sample.x_0[:, 2:].flatten()]))
    assert independent[0, 1].item() == pytest.approx(0, abs=0.03)


def test_times_follow_the_beta_distribution_up_to_the_cutoff():
    times = beta_times(200_000, 1.5, 0.5, seeded(), torch.device("cpu")) / 0.5
    expected = torch.distributions.Beta(1.0, 1.5)
    assert times.mean().item() == pytest.approx(expected.mean.item(), abs=3e-3)
    assert times.var().item() == pytest.approx(expected.variance.item(), abs=3e-3)
    for time in (0.1, 0.5, 0.9):  # the distribution function, integrated by the midpoint rule
        grid = (torch.arange(10_000) + 0.5) / 10_000 * time
        below = expected.log_prob(grid).exp().mean() * time
        assert (times < time).float().mean().item() == pytest.approx(below.item(), abs=5e-3)
    assert times.min() >= 0
    assert times.max() <= 1


def test_times_are_the_inverse_of_the_distribution_function():
    uniform = torch.rand(5, generator=seeded(3))
    times = beta_times(5, 2.0, 1.0, seeded(3), torch.device("cpu"))
    torch.testing.assert_close(1 - (1 - times) ** 2, uniform)


def test_path_is_straight_from_noise_to_action():
    action = torch.randn(3, 4, 2, generator=seeded(1))
    sample = Flow(time_beta=2.0, time_cutoff=1.0).draw(action, no_pad(action), seeded(2))
    generator = seeded(2)
    torch.randn(3, 4, 2, generator=generator)  # for padded steps
    t = beta_times(3, 2.0, 1.0, generator, torch.device("cpu"))[:, None, None]
    noise = torch.randn(3, 4, 2, generator=generator)
    torch.testing.assert_close(sample.x_0, noise)
    torch.testing.assert_close(sample.x_t, (1 - t) * noise + t * action)
    torch.testing.assert_close(sample.dx_t, action - noise)


def test_solvers_take_the_steps_of_their_textbook_formulas():
    start = torch.tensor([[[1.0, -2.0]]])

    def solve(solver, steps, tolerance=1e-6):
        return integrate(lambda x, t: x, start, solver, steps, tolerance)

    torch.testing.assert_close(solve("euler", 4), start * (1 + 1 / 4) ** 4)
    torch.testing.assert_close(solve("midpoint", 4), start * (1 + 1 / 4 + 1 / 32) ** 4)
    torch.testing.assert_close(solve("dopri5", 1), start * math.e, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 7, 49])
def test_euler_asks_for_the_velocity_at_each_equal_step_once(steps):
    asked = []

    def velocity(x, time):
        asked.append(time)
        return torch.zeros_like(x)

    integrate(velocity, torch.zeros(3, 2, 1), "euler", steps, 1e-5)
    expected = torch.arange(steps)[:, None].expand(-1, 3) / steps
    torch.testing.assert_close(torch.stack(asked), expected)


def test_time_dependent_velocity_is_integrated():
    end = integrate(lambda x, t: 2 * t[:, None, None], torch.zeros(2, 1, 1), "midpoint", 3, 1e-5)
    torch.testing.assert_close(end, torch.ones(2, 1, 1))


def test_rows_that_share_a_solver_share_nothing_else():
    noise, rate = torch.randn(4, 3, 2, generator=seeded(1)), torch.tensor([0.0, 1.0, 2.0, 5.0])

    def growing(rate_b):
        return lambda x, t: x * rate_b[:, None, None]

    for solver in ("midpoint", "dopri5"):
        flow = Flow(solver=solver, num_steps=200, tolerance=1e-6)
        sample = flow.sample(growing, noise, rate)
        torch.testing.assert_close(sample, noise * rate.exp()[:, None, None], rtol=2e-3, atol=1e-4)
