import torch

from components.models.gaussian_embedder import GaussianEmbedder


def test_an_array_becomes_one_latent():
    embedder = GaussianEmbedder(inputs=[4, 3], latent=2, width=8, layers=1)
    latent = embedder(torch.zeros(5, 4, 3))
    assert latent.mean.shape == latent.log_variance.shape == (5, 2)
