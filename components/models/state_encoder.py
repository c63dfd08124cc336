"""Observation tokens from proprioception alone."""

from pydantic import PositiveInt
from torch import Tensor, nn

from components.models.contracts import ObservationEncoder
from components.models.mlp import ACTIVATIONS, Activation
from components.models.transformer import learned_positions
from trainer.interfaces import STATE, Batch
from trainer.registry import models


@models.register("state_encoder")
class StateEncoder(ObservationEncoder):
    """One token for each step of the state history.

    Args:
        state: Size of the state.
        obs_steps: Steps of history, one token each.
        dim: Width of the tokens.
        hidden: Width of the hidden layer.
        activation: That of the hidden layer; see ``mlp``.
    """

    def __init__(
        self,
        *,
        state: PositiveInt,
        obs_steps: PositiveInt,
        dim: PositiveInt,
        hidden: PositiveInt,
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        self.tokens = obs_steps
        self.token_dim = dim
        self.project = nn.Sequential(
            nn.Linear(state, hidden), ACTIVATIONS[activation](), nn.Linear(hidden, dim)
        )
        self.positions = learned_positions(obs_steps, dim)

    def forward(self, batch: Batch) -> Tensor:
        """Return the tokens (B, To, D) of ``observation.state`` (B, To, S)."""
        return self.project(batch[STATE]) + self.positions
