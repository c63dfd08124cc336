"""Pre-norm transformer decoder layers that see a memory beside their own tokens.

Shape legend: B batch, T own tokens, N memory tokens, D width, K heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.models.contracts import KeysValues
from trainer.errors import ConfigError


class MemoryAttention(nn.Module):
    """Multi-head attention of tokens to a memory and to each other at once, in one softmax.

    The memory's keys and values are computed apart, so that they can be kept from call to call.
    Biases are left out where softmax or the output's bias would absorb them.
    Sources: Vaswani et al., Attention Is All You Need, 2017, section 3.2; attention to the kept
    keys and values of a prefix as in Black et al., pi0, 2024, appendix B.
    """

    def __init__(self, dim: int, heads: int, memory_dim: int) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError(f"dim: expected a multiple of heads = {heads}, got {dim}")
        self.heads = heads
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.memory_key_value = nn.Linear(memory_dim, 2 * dim, bias=False)
        self.output = nn.Linear(dim, dim)

    def remember(self, memory_bnd: Tensor) -> KeysValues:
        """Return the keys and values (B, K, N, D / K) of the memory tokens."""
        key_bknd, value_bknd = self._heads(self.memory_key_value(memory_bnd), 2)
        return key_bknd, value_bknd

    def forward(self, x_btd: Tensor, memory: KeysValues, causal: bool) -> Tensor:
        """Return what the tokens attend to (B, T, D): all of the memory, all or earlier tokens."""
        query, key, value = self._heads(self.query_key_value(x_btd), 3)
        key, value = torch.cat([memory[0], key], dim=2), torch.cat([memory[1], value], dim=2)
        mask = None
        if causal:
            own, everything = query.shape[2], key.shape[2]
            mask = torch.ones(own, everything, dtype=torch.bool, device=x_btd.device)
            mask = mask.tril(diagonal=everything - own)
        mixed_bktd = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.output(mixed_bktd.transpose(1, 2).flatten(2))

    def _heads(self, x_btd: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Return ``parts`` tensors (B, K, T, D / K) of a projection (B, T, parts · D)."""
        return x_btd.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()


class DecoderBlock(nn.Module):
    """Attention and a feed-forward layer, each pre-normed and added to its input."""

    def __init__(
        self, dim: int, heads: int, memory_dim: int, feedforward: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = MemoryAttention(dim, heads, memory_dim)
        self.feedforward_norm = nn.LayerNorm(dim)
        self.feedforward = nn.Sequential(
            nn.Linear(dim, feedforward), nn.GELU(), nn.Linear(feedforward, dim)
        )
        self.dropout = nn.Dropout(dropout)

    def remember(self, memory_bnd: Tensor) -> KeysValues:
        """Return the memory's keys and values for this block."""
        return self.attention.remember(memory_bnd)

    def forward(self, x_btd: Tensor, memory: KeysValues, causal: bool) -> Tensor:
        """Return the tokens after the block (B, T, D)."""
        attended = self.attention(self.attention_norm(x_btd), memory, causal)
        x_btd = x_btd + self.dropout(attended)
        return x_btd + self.dropout(self.feedforward(self.feedforward_norm(x_btd)))


def learned_positions(tokens: int, dim: int) -> nn.Parameter:
    """Return small random position embeddings (T, D) to be learnt."""
    return nn.Parameter(torch.randn(tokens, dim) * 0.02)
