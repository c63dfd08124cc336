"""The state as it is, for trunks that need no tokens."""

from pydantic import PositiveInt
from torch import Tensor

from components.models.contracts import ObservationEncoder
from trainer.interfaces import STATE, Batch
from trainer.registry import models


@models.register("plain_state")
class PlainState(ObservationEncoder):
    """One token for each step of the history: the normalised state itself. Learns nothing.

    Args:
        state: Size of the state, and width of the tokens.
        obs_steps: Steps of history.
    """

    def __init__(self, *, state: PositiveInt, obs_steps: PositiveInt) -> None:
        super().__init__()
        self.tokens = obs_steps
        self.token_dim = state

    def forward(self, batch: Batch) -> Tensor:
        """Return ``observation.state`` (B, To, S)."""
        return batch[STATE]
