"""Observation tokens from proprioception that have looked at each other."""

from typing import Annotated

from pydantic import Field, PositiveInt
from torch import Tensor

from components.models.contracts import ObservationEncoder
from components.models.state_encoder import StateEncoder
from components.models.transformer import Encoder
from trainer.interfaces import Batch
from trainer.registry import models


@models.register("state_transformer")
class StateTransformer(ObservationEncoder):
    """A transformer encoder over the history of the state, one token for each step.

    Args:
        state: Size of the state.
        obs_steps: Steps of history.
        dim: Width of the tokens.
        hidden: Width of the hidden layer that makes a token of a state.
        layers: Number of blocks.
        heads: Attention heads; must divide ``dim``.
        feedforward: Width of the feed-forward layers.
        dropout: Share of each layer's output that is dropped in training.
    """

    def __init__(
        self,
        *,
        state: PositiveInt,
        obs_steps: PositiveInt,
        dim: PositiveInt,
        hidden: PositiveInt,
        layers: PositiveInt,
        heads: PositiveInt,
        feedforward: PositiveInt,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.tokens, self.token_dim = obs_steps, dim
        self.state = StateEncoder(state=state, obs_steps=obs_steps, dim=dim, hidden=hidden)
        self.encoder = Encoder(dim, layers, heads, feedforward, dropout)

    def forward(self, batch: Batch) -> Tensor:
        """Return the tokens (B, To, D) of ``observation.state`` (B, To, S)."""
        return self.encoder(self.state(batch))
