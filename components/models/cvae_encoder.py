"""The posterior of a conditional variational auto-encoder over action chunks.

Shape legend: B batch, H action-chunk steps, A action, S state, Z latent, T tokens, D width.
"""

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from components.models.gaussian import Gaussian
from components.models.transformer import Encoder, learned_positions
from trainer.registry import models


@models.register("cvae_encoder")
class CVAEEncoder(nn.Module):
    """Sums up how a chunk is done, given the state, in a diagonal Gaussian.

    A transformer encoder over a CLS token, the state and the actions; what the CLS token becomes
    gives the Gaussian's parameters. Of a padded step only is seen that it is there: the original
    masks its attention instead, to the same end.
    Source: Zhao et al., Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware (ACT),
    2023, section IV-C and figure 4, left.

    Args:
        chunk: Steps of the action chunk.
        action: Size of one action.
        state: Size of the state.
        latent: Size of the latent.
        dim: Width of the tokens.
        layers: Number of encoder layers.
        heads: Attention heads; must divide ``dim``.
        feedforward: Width of the feed-forward layers.
        dropout: Share of each layer's output that is dropped in training.
    """

    def __init__(
        self,
        *,
        chunk: PositiveInt,
        action: PositiveInt,
        state: PositiveInt,
        latent: PositiveInt,
        dim: PositiveInt,
        layers: PositiveInt,
        heads: PositiveInt,
        feedforward: PositiveInt,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.chunk, self.action, self.state, self.latent = chunk, action, state, latent
        self.cls = learned_positions(1, dim)
        self.embed_state = nn.Linear(state, dim)
        self.embed_action = nn.Linear(action, dim)
        self.positions = learned_positions(1 + chunk, dim)
        self.encoder = Encoder(dim, layers, heads, feedforward, dropout)
        self.head = nn.Linear(dim, 2 * latent)

    def forward(self, state_bs: Tensor, action_bha: Tensor, is_pad_bh: Tensor) -> Gaussian:
        """Return the distribution of the latent (B, Z)."""
        action_bhd = self.embed_action(action_bha).masked_fill(is_pad_bh[..., None], 0.0)
        seen_btd = torch.cat([self.embed_state(state_bs)[:, None], action_bhd], dim=1)
        cls_b1d = self.cls.expand(len(seen_btd), 1, -1)
        x_btd = self.encoder(torch.cat([cls_b1d, seen_btd + self.positions], dim=1))
        return Gaussian(*self.head(x_btd[:, 0]).float().chunk(2, dim=-1))
