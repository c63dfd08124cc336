"""What an embedding stands for, restored: the decoder of a variational autoencoder."""

import math
from typing import Annotated

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from components.models.mlp import MLP
from trainer.registry import models


@models.register("embedding_decoder")
class EmbeddingDecoder(nn.Module):
    """Fully connected layers from ``latent`` numbers to an array.

    Args:
        latent: Dimensions of the embedding.
        outputs: Shape of the array without the batch, such as chunk and action.
        width: Width of the hidden layers.
        layers: Number of hidden layers.
    """

    def __init__(
        self,
        *,
        latent: PositiveInt,
        outputs: Annotated[list[PositiveInt], Field(min_length=1)],
        width: PositiveInt,
        layers: PositiveInt,
    ) -> None:
        super().__init__()
        self.latent, self.outputs = latent, tuple(outputs)
        self.trunk = MLP(inputs=latent, width=width, layers=layers)
        self.project = nn.Linear(width, math.prod(outputs))

    def forward(self, latent_bz: Tensor) -> Tensor:
        """Return the arrays (B, *outputs) of the embeddings (B, latent)."""
        return self.project(self.trunk(latent_bz)).float().unflatten(-1, self.outputs)
