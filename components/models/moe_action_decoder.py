"""Several velocity fields over action chunks side by side: a mixture of experts."""

from typing import Annotated

from pydantic import Field, PositiveInt

from components.models.chunk_transformer import ChunkTransformer
from components.models.contracts import ExpertDecoder
from trainer.registry import models


@models.register("moe_action_decoder")
class MoEActionDecoder(ChunkTransformer, ExpertDecoder):
    """As ``action_decoder``, with blocks and outputs for each expert, all computed in one call.

    Args:
        experts: How many; the others are those of ``action_decoder``.
    """

    def __init__(
        self,
        *,
        experts: PositiveInt,
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
        self._experts = self.experts = experts  # the constructor below makes so many
        super().__init__(
            chunk=chunk,
            action=action,
            memory_dim=memory_dim,
            dim=dim,
            layers=layers,
            heads=heads,
            feedforward=feedforward,
            steps_per_token=steps_per_token,
            causal=causal,
            dropout=dropout,
        )
