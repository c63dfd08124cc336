"""A few numbers that stand for many: the encoder of a variational autoencoder.

Shape legend: B batch, Z latent dimensions.
"""

import math
from typing import Annotated

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from components.models.gaussian import Gaussian
from components.models.mlp import MLP
from trainer.registry import models


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
