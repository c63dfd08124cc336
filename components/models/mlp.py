"""A trunk of fully connected layers."""

from itertools import pairwise
from typing import Annotated

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from components.models.contracts import Trunk
from trainer.registry import models


@models.register("mlp")
class MLP(Trunk):
    """Linear layers, each followed by GELU and, where asked for, dropout.

    Args:
        inputs: Numbers going in.
        width: Width of every layer, and of the features coming out.
        layers: Number of layers.
        dropout: Share of each layer's output that is dropped in training.
    """

    def __init__(
        self,
        *,
        inputs: PositiveInt,
        width: PositiveInt,
        layers: PositiveInt,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.features = width
        sizes = [inputs] + [width] * layers
        self.layers = nn.Sequential()
        for before, after in pairwise(sizes):
            self.layers.extend([nn.Linear(before, after), nn.GELU(), nn.Dropout(dropout)])

    def forward(self, x_bi: Tensor) -> Tensor:
        """Return the features (B, F) of the inputs (B, inputs)."""
        return self.layers(x_bi)
