import torch
from torch.distributions import Normal, kl_divergence

from components.models.gaussian_embedder import Gaussian, GaussianEmbedder


def test_the_divergence_is_that_from_a_standard_normal():
    mean, log_variance = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    spread = Normal(mean, (0.5 * log_variance).exp())
    expected = kl_divergence(spread, Normal(0.0, 1.0)).sum(dim=-1)
    torch.testing.assert_close(Gaussian(mean, log_variance).divergence(), expected)


def test_draws_have_the_mean_and_the_spread():
    mean, deviation = torch.tensor([3.0, -1.0]), torch.tensor([0.5, 2.0])
    rows = 20_000
    latent = Gaussian(mean.expand(rows, 2), 2 * deviation.log().expand(rows, 2))
    drawn = latent.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(dim=0), mean, rtol=0.05, atol=0.05)
    torch.testing.assert_close(drawn.std(dim=0), deviation, rtol=0.05, atol=0)


def test_an_array_becomes_one_latent():
    embedder = GaussianEmbedder(inputs=[4, 3], latent=2, width=8, layers=1)
    latent = embedder(torch.zeros(5, 4, 3))
    assert latent.mean.shape == latent.log_variance.shape == (5, 2)
