"""A latent that sums up an observation, and with an action chunk what is done about it.

Shape legend: B batch, N observation tokens, H action-chunk steps, A action, L latent, D width.
"""

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from components.models.transformer import Encoder, learned_positions
from trainer.registry import models


@models.register("latent_encoder")
class LatentEncoder(nn.Module):
    """A transformer encoder whose summary token becomes the latent.

    A *posterior* sees the action chunk too, a *prior* the observation alone.

    Args:
        memory_dim: Width of the observation tokens.
        latent: Numbers of the latent.
        dim: Width of the encoder.
        layers: Number of blocks.
        heads: Attention heads; must divide ``dim``.
        feedforward: Width of the feed-forward layers.
        chunk: Steps of the action chunk that a posterior sees; None makes a prior.
        action: Size of one action, for a posterior.
        dropout: Share of each layer's output that is dropped in training.
    """

    def __init__(
        self,
        *,
        memory_dim: PositiveInt,
        latent: PositiveInt,
        dim: PositiveInt,
        layers: PositiveInt,
        heads: PositiveInt,
        feedforward: PositiveInt,
        chunk: PositiveInt | None = None,
        action: PositiveInt = 1,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.memory_dim, self.latent = memory_dim, latent
        self.chunk, self.action = chunk, action
        self.summary = learned_positions(1, dim)
        self.observe = nn.Sequential(nn.LayerNorm(memory_dim), nn.Linear(memory_dim, dim))
        if chunk is not None:
            self.embed = nn.Linear(action, dim)
            self.positions = learned_positions(chunk, dim)
        self.encoder = Encoder(dim, layers, heads, feedforward, dropout)
        self.head = nn.Linear(dim, latent)

    def forward(
        self,
        memory_bnd: Tensor,
        action_bha: Tensor | None = None,
        is_pad_bh: Tensor | None = None,
    ) -> Tensor:
        """Return the latent (B, L) of observation tokens and, for a posterior, the chunk.

        Of a padded step only is seen that it is there.
        """
        tokens = [self.summary.expand(len(memory_bnd), -1, -1), self.observe(memory_bnd)]
        if action_bha is not None:
            embedded_bhd = self.embed(action_bha)
            if is_pad_bh is not None:
                embedded_bhd = embedded_bhd.masked_fill(is_pad_bh[..., None], 0.0)
            tokens.append(embedded_bhd + self.positions)
        return self.head(self.encoder(torch.cat(tokens, dim=1))[:, 0])
