"""The velocity field over action chunks as a transformer decoder."""

from collections.abc import Iterable
from typing import Annotated, cast

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from components.models.contracts import KeysValues, VelocityDecoder
from components.models.time_embedding import TimeEmbedding
from components.models.transformer import DecoderBlock, learned_positions
from trainer.errors import ConfigError
from trainer.registry import models


@models.register("action_decoder")
class ActionDecoder(VelocityDecoder):
    """Transformer decoder: tokens of a noisy chunk attend to each other and to the observation.

    The embedded flow time is added to every token.

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
        self.memory_norm = nn.LayerNorm(memory_dim)
        self.embed = nn.Linear(steps_per_token * action, dim)
        self.positions = learned_positions(chunk // steps_per_token, dim)
        self.time = TimeEmbedding(dim)
        blocks = [DecoderBlock(dim, heads, memory_dim, feedforward, dropout) for _ in range(layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim)
        self.velocity = nn.Linear(dim, steps_per_token * action)

    def remember(self, memory_bnd: Tensor) -> list[KeysValues]:
        """Return the keys and values of the observation tokens for each block."""
        blocks = cast(Iterable[DecoderBlock], self.blocks)
        normed_bnd = self.memory_norm(memory_bnd)
        return [block.remember(normed_bnd) for block in blocks]

    def forward(self, action_bha: Tensor, time_b: Tensor, memory: list[KeysValues]) -> Tensor:
        """Return the velocity (B, H, A)."""
        steps = action_bha.unflatten(1, (-1, self.steps_per_token)).flatten(2)
        x_btd = self.embed(steps) + self.positions + self.time(time_b)[:, None]
        for block, keys_values in zip(self.blocks, memory, strict=True):
            x_btd = block(x_btd, keys_values, self.causal)
        return self.velocity(self.norm(x_btd)).reshape(action_bha.shape)
