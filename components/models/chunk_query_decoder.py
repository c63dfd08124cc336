"""Action chunks from learnt queries, observation tokens and a latent.

Shape legend: B batch, H action-chunk steps, A action, N observation tokens, Z latent, D width.
"""

from collections.abc import Iterable
from typing import Annotated, cast

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from components.models.transformer import Block, Encoder
from trainer.registry import models


@models.register("chunk_query_decoder")
class ChunkQueryDecoder(nn.Module):
    """Transformer encoder over the latent and the observation, decoder over one query a step.

    A query attends to what was encoded and to the other queries in one softmax; the original does
    so in two, one after the other.
    Sources: Zhao et al., Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware (ACT),
    2023, section IV-C and figure 4, right; learnt queries as in Carion et al., DETR, 2020.

    Args:
        chunk: Steps of the action chunk.
        action: Size of one action.
        latent: Size of the latent.
        dim: Width of the observation tokens, and of the decoder.
        encoder_layers: Number of encoder layers.
        decoder_layers: Number of decoder blocks.
        heads: Attention heads; must divide ``dim``.
        feedforward: Width of the feed-forward layers.
        dropout: Share of each layer's output that is dropped in training.
    """

    def __init__(
        self,
        *,
        chunk: PositiveInt,
        action: PositiveInt,
        latent: PositiveInt,
        dim: PositiveInt,
        encoder_layers: PositiveInt,
        decoder_layers: PositiveInt,
        heads: PositiveInt,
        feedforward: PositiveInt,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.chunk, self.action, self.latent, self.dim = chunk, action, latent, dim
        self.embed_latent = nn.Linear(latent, dim)
        self.encoder = Encoder(dim, encoder_layers, heads, feedforward, dropout)
        # Of unit size, unlike positions: nothing else tells the steps of the chunk apart.
        self.queries = nn.Parameter(torch.randn(chunk, dim))
        blocks = [
            Block(dim, heads, feedforward, memory_dim=dim, dropout=dropout)
            for _ in range(decoder_layers)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, action)

    def forward(self, memory_bnd: Tensor, latent_bz: Tensor) -> Tensor:
        """Return the chunk (B, H, A) for the observation tokens and the latent."""
        tokens_btd = torch.cat([self.embed_latent(latent_bz)[:, None], memory_bnd], dim=1)
        encoded_btd = self.encoder(tokens_btd)
        x_bhd = self.queries.expand(len(encoded_btd), -1, -1)
        for block in cast(Iterable[Block], self.blocks):
            x_bhd = block(x_bhd, block.remember(encoded_btd))
        return self.head(self.norm(x_bhd)).float()
