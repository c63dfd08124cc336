"""Pre-norm transformer layers, which may see a memory beside their own tokens.

With ``experts`` a layer is several of them side by side, each with weights of its own, computed
together: their tensors begin with the dimension E.

Shape legend: B batch, T own tokens, N memory tokens, D width, K heads, E experts.
"""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.models.contracts import KeysValues
from components.models.layers import linear, norm
from trainer.errors import ConfigError


class Attention(nn.Module):
    """Multi-head attention of tokens to each other, and to a memory at once, in one softmax.

    The memory's keys and values are computed apart, so that they can be kept from call to call.
    Biases are left out where softmax or the output's bias would absorb them.
    Sources: Vaswani et al., Attention Is All You Need, 2017, section 3.2; attention to the kept
    keys and values of a prefix as in Black et al., pi0, 2024, appendix B.

    Args:
        dim: Width of the tokens.
        heads: Must divide ``dim``.
        memory_dim: Width of the memory's tokens; None without memory.
        experts: How many layers side by side; None for one without the dimension E.
    """

    def __init__(
        self, dim: int, heads: int, memory_dim: int | None = None, experts: int | None = None
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError(f"dim: expected a multiple of heads = {heads}, got {dim}")
        self.heads = heads
        self.query_key_value = linear(dim, 3 * dim, experts, bias=False)
        if memory_dim is not None:
            self.memory_key_value = linear(memory_dim, 2 * dim, experts, bias=False)
        self.output = linear(dim, dim, experts)

    def remember(self, memory_bnd: Tensor) -> KeysValues:
        """Return the keys and values (B, K, N, D / K) of the memory tokens."""
        key_bknd, value_bknd = self._heads(self.memory_key_value(memory_bnd), 2)
        return key_bknd, value_bknd

    def forward(self, x_btd: Tensor, memory: KeysValues | None, causal: bool) -> Tensor:
        """Return what the tokens attend to (B, T, D): all of the memory, all or earlier tokens."""
        query, key, value = self._heads(self.query_key_value(x_btd), 3)
        if memory is not None:
            key, value = torch.cat([memory[0], key], dim=-2), torch.cat([memory[1], value], dim=-2)
        mask = None
        if causal:
            own, everything = query.shape[-2], key.shape[-2]
            mask = torch.ones(own, everything, dtype=torch.bool, device=x_btd.device)
            mask = mask.tril(diagonal=everything - own)
        # With one leading dimension: only then is it computed without writing the weights down.
        flat = (each.flatten(0, -4) for each in (query, key, value))
        mixed = F.scaled_dot_product_attention(*flat, attn_mask=mask).view_as(query)
        return self.output(mixed.transpose(-3, -2).flatten(-2))

    def _heads(self, x_btd: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Return ``parts`` tensors (B, K, T, D / K) of a projection (B, T, parts · D)."""
        split = x_btd.unflatten(-1, (parts, self.heads, -1)).transpose(-4, -2)
        return split.unbind(dim=-3)


class Block(nn.Module):
    """Attention and a feed-forward layer, each pre-normed and added to its input.

    Args:
        dim: Width of the tokens.
        heads: Attention heads; must divide ``dim``.
        feedforward: Width of the feed-forward layer.
        memory_dim: Width of the memory's tokens; None for an encoder's block, which has no memory.
        dropout: Share of each layer's output that is dropped in training.
        experts: How many blocks side by side; None for one without the dimension E.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        feedforward: int,
        *,
        memory_dim: int | None = None,
        dropout: float = 0.0,
        experts: int | None = None,
    ) -> None:
        super().__init__()
        self.attention_norm = norm(dim, experts)
        self.attention = Attention(dim, heads, memory_dim, experts)
        self.feedforward_norm = norm(dim, experts)
        self.feedforward = nn.Sequential(
            linear(dim, feedforward, experts), nn.GELU(), linear(feedforward, dim, experts)
        )
        self.dropout = nn.Dropout(dropout)

    def remember(self, memory_bnd: Tensor) -> KeysValues:
        """Return the memory's keys and values for this block."""
        return self.attention.remember(memory_bnd)

    def forward(
        self, x_btd: Tensor, memory: KeysValues | None = None, causal: bool = False
    ) -> Tensor:
        """Return the tokens after the block (B, T, D)."""
        attended = self.attention(self.attention_norm(x_btd), memory, causal)
        x_btd = x_btd + self.dropout(attended)
        return x_btd + self.dropout(self.feedforward(self.feedforward_norm(x_btd)))


class Encoder(nn.Module):
    """Blocks in which tokens attend to each other, and a last norm.

    Args:
        dim: Width of the tokens.
        layers: Number of blocks.
        heads: Attention heads; must divide ``dim``.
        feedforward: Width of the feed-forward layers.
        dropout: Share of each layer's output that is dropped in training.
    """

    def __init__(
        self, dim: int, layers: int, heads: int, feedforward: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        blocks = [Block(dim, heads, feedforward, dropout=dropout) for _ in range(layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Return the tokens (B, T, D) after all blocks."""
        for block in cast(Iterable[Block], self.blocks):
            x_btd = block(x_btd)
        return self.norm(x_btd)


def learned_positions(tokens: int, dim: int) -> nn.Parameter:
    """Return small random position embeddings (T, D) to be learnt."""
    return nn.Parameter(torch.randn(tokens, dim) * 0.02)
