"""A few numbers that stand for many: the encoder of a variational autoencoder.

Shape legend: B batch, Z latent dimensions.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from components.models.mlp import MLP
from trainer.registry import models


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution of latents with a diagonal covariance; both tensors are (B, Z)."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, generator: torch.Generator) -> Tensor:
        """Return a draw (B, Z) that gradients go through."""
        noise = torch.randn(self.mean.shape, generator=generator, device=generator.device)
        return self.mean + (0.5 * self.log_variance).exp() * noise.to(self.mean)

    def divergence(self) -> Tensor:
        """Return (B,) the Kullback-Leibler divergence from a standard normal, in nats.

        Source: Kingma and Welling, Auto-Encoding Variational Bayes, 2014, appendix B.
        """
        variance = self.log_variance.exp()
        return 0.5 * (self.mean.square() + variance - 1 - self.log_variance).sum(dim=-1)


@models.register("gaussian_embedder")
class GaussianEmbedder(nn.Module):
    """Fully connected layers from an array to a Gaussian over ``latent`` numbers.

    Args:
        inputs: Shape of the array without the batch, such as chunk and action.
        latent: Dimensions of the latent.
        width: Width of the hidden layers.
        layers: Number of hidden layers.
    """

    def __init__(
        self,
        *,
        inputs: Annotated[list[PositiveInt], Field(min_length=1)],
        latent: PositiveInt,
        width: PositiveInt,
        layers: PositiveInt,
    ) -> None:
        super().__init__()
        self.inputs, self.latent = tuple(inputs), latent
        self.trunk = MLP(inputs=math.prod(inputs), width=width, layers=layers)
        self.project = nn.Linear(width, 2 * latent)

    def forward(self, array: Tensor) -> Gaussian:
        """Return the latents of the arrays (B, *inputs)."""
        mean_bz, log_variance_bz = self.project(self.trunk(array.flatten(1))).float().chunk(2, -1)
        return Gaussian(mean_bz, log_variance_bz)
