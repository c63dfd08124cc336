"""A trunk of fully connected layers."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from components.models.contracts import Trunk
from trainer.registry import models

Activation = Literal["elu", "gelu", "relu", "tanh"]
ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    # In place: its gradient then comes from the result, without another exponential.
    "elu": partial(nn.ELU, inplace=True),
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
}


@models.register("mlp")
class MLP(Trunk):
    """Linear layers, each followed by an activation and, where asked for, dropout.

    Args:
        inputs: Numbers going in.
        width: Width of every layer, or of each; the last one is that of the features coming out.
        layers: Number of layers; left out where each one's width is given.
        dropout: Share of each layer's output that is dropped in training.
        activation: ``gelu``, ``relu``, ``elu`` as in RSL-RL's networks, or ``tanh`` as in those of
            classic control.
    """

    def __init__(
        self,
        *,
        inputs: PositiveInt,
        width: PositiveInt | Annotated[list[PositiveInt], Field(min_length=1)],
        layers: PositiveInt | None = None,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        if isinstance(width, int) == (layers is None):
            raise ValueError("give one width and the number of layers, or a list of widths alone")
        widths = width if isinstance(width, list) else [width] * (layers or 0)
        self.inputs = inputs
        self.features = widths[-1]
        sizes = [inputs, *widths]
        self.layers = nn.Sequential()
        for i, (before, after) in enumerate(pairwise(sizes)):
            self.layers.add_module(f"{3 * i}", nn.Linear(before, after))
            self.layers.add_module(f"{3 * i + 1}", ACTIVATIONS[activation]())
            # A dropout of nothing would still cost a small network's decision its call, but it has
            # its number: weights have the same names with and without.
            if dropout:
                self.layers.add_module(f"{3 * i + 2}", nn.Dropout(dropout))

    def forward(self, x_bi: Tensor) -> Tensor:
        """Return the features (B, F) of the inputs (B, inputs)."""
        return self.layers(x_bi)
