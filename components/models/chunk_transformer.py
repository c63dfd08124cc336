"""What decoders of action chunks share: a transformer over the steps of a noisy chunk.

Shape legend: B batch, H action-chunk steps, A action, N memory tokens, T chunk tokens, D width,
E experts.
"""

from collections.abc import Iterable
from typing import Annotated, cast

from einops import rearrange
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from components.models.contracts import KeysValues
from components.models.layers import linear, norm
from components.models.time_embedding import TimeEmbedding
from components.models.transformer import Block, learned_positions
from trainer.errors import ConfigError


class ChunkTransformer(nn.Module):
    """Tokens of a noisy chunk attend to each other and to the observation.

    The embedded flow time is added to every token. Where there are several experts, what embeds
    and remembers is shared, and blocks and output are each expert's own.

    Args:
        chunk: Steps of the action chunk.
        action: Size of one action.
        memory_dim: Width of the observation tokens.
        dim: Width of the decoder.
        layers: Number of blocks.
        heads: Attention heads; must divide ``dim``.
        feedforward: Width of the feed-forward layers.
        steps_per_token: Consecutive actions that share one token; must divide ``chunk``.
        causal: Whether a token attends to itself and earlier tokens only.
        dropout: Share of each layer's output that is dropped in training.
    """

    _experts: int | None = None
    """How many decoders side by side, which a subclass may set before this constructor makes them;
    None for one without the dimension E."""

    def __init__(
        self,
        *,
        chunk: PositiveInt,
        action: PositiveInt,
        memory_dim: PositiveInt,
        dim: PositiveInt,
        layers: PositiveInt,
        heads: PositiveInt,
        feedforward: PositiveInt,
        steps_per_token: PositiveInt = 1,
        causal: bool = False,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        if chunk % steps_per_token:
            raise ConfigError(
                f"steps_per_token: expected a divisor of {chunk=}, got {steps_per_token}"
            )
        self.chunk, self.action, self.memory_dim = chunk, action, memory_dim
        self.steps_per_token = steps_per_token
        self.causal = causal
        experts = self._experts
        self._copies = () if experts is None else (experts,)
        self.memory_norm = nn.LayerNorm(memory_dim)
        self.embed = nn.Linear(steps_per_token * action, dim)
        self.positions = learned_positions(chunk // steps_per_token, dim)
        self.time = TimeEmbedding(dim)
        self.blocks = nn.ModuleList(
            Block(dim, heads, feedforward, memory_dim=memory_dim, dropout=dropout, experts=experts)
            for _ in range(layers)
        )
        self.norm = norm(dim, experts)
        self.velocity = linear(dim, steps_per_token * action, experts)

    def remember(self, memory_bnd: Tensor) -> list[KeysValues]:
        """Return the keys and values of the observation tokens for each block."""
        blocks = cast(Iterable[Block], self.blocks)
        normed = self._for_each_expert(self.memory_norm(memory_bnd))
        return [block.remember(normed) for block in blocks]

    def forward(self, action_bha: Tensor, time_b: Tensor, memory: list[KeysValues]) -> Tensor:
        """Return the velocity (B, H, A), or those of all experts (E, B, H, A)."""
        steps = rearrange(action_bha, "b (t s) a -> b t (s a)", s=self.steps_per_token)
        tokens = self._for_each_expert(
            self.embed(steps) + self.positions + self.time(time_b)[:, None]
        )
        for block, keys_values in zip(self.blocks, memory, strict=True):
            tokens = block(tokens, keys_values, self.causal)
        return self.velocity(self.norm(tokens)).reshape(*self._copies, *action_bha.shape)

    def _for_each_expert(self, x: Tensor) -> Tensor:
        return x.expand(*self._copies, *x.shape)
