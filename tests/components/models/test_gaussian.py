import torch
from torch.distributions import Normal, kl_divergence

from components.models.gaussian import Gaussian


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_divergence_is_that_of_torchs_distributions():
    mean, log_variance = torch.randn(2, 5, 3, generator=seeded())
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(Gaussian(mean, log_variance).divergence(), expected.sum(dim=-1))


def test_divergence_of_a_shifted_normal_is_half_the_squared_shift():
    shifted = Gaussian(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.zeros(2, 2))
    assert shifted.divergence().tolist() == [0.0, 12.5]


def test_draws_have_the_mean_and_the_variance():
    rows = 100_000
    gaussian = Gaussian(torch.full((rows, 1), 2.0), torch.full((rows, 1), 0.25).log())
    draws = gaussian.sample(seeded())
    assert abs(draws.mean() - 2.0) < 0.01
    assert abs(draws.var() - 0.25) < 0.01


def test_gradients_flow_through_a_draw():
    mean = torch.zeros(1, 1, requires_grad=True)
    log_variance = torch.zeros(1, 1, requires_grad=True)
    draw = Gaussian(mean, log_variance).sample(seeded())
    draw.sum().backward()
    noise = torch.randn(1, 1, generator=seeded())
    assert mean.grad == 1
    torch.testing.assert_close(log_variance.grad, 0.5 * noise)  # d exp(s / 2) / ds at s = 0
