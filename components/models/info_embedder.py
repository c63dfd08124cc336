"""Observation tokens that have looked at each other: cameras, proprioception and summaries.

Shape legend: B batch, To observation steps, T tokens of one picture, N observation tokens, D width.
"""

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from components.models.contracts import CAMERA_TOKENS_PREFIX, ObservationEncoder
from components.models.state_encoder import StateEncoder
from components.models.transformer import Encoder, learned_positions
from trainer.interfaces import Batch
from trainer.registry import models


@models.register("info_embedder")
class InfoEmbedder(ObservationEncoder):
    """A transformer encoder over the state's history, each camera's tokens and summary tokens.

    Each camera is told apart by an embedding, and has a summary token of its own, whose place in
    the output is for what the camera means to the task rather than for what it shows.

    Args:
        cameras: Whose tokens are seen, in order; further visual streams such as ``depth`` too.
        image_tokens: Tokens that a backbone makes of one picture.
        image_token_dim: Width of those tokens.
        state: Size of the state.
        obs_steps: Steps of history.
        dim: Width of the tokens.
        hidden: Width of the state's hidden layer.
        layers: Number of blocks.
        heads: Attention heads; must divide ``dim``.
        feedforward: Width of the feed-forward layers.
        dropout: Share of each layer's output that is dropped in training.
    """

    def __init__(
        self,
        *,
        cameras: Annotated[list[str], Field(min_length=1)],
        image_tokens: PositiveInt,
        image_token_dim: PositiveInt,
        state: PositiveInt,
        obs_steps: PositiveInt,
        dim: PositiveInt,
        hidden: PositiveInt,
        layers: PositiveInt,
        heads: PositiveInt,
        feedforward: PositiveInt,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.cameras = tuple(cameras)
        self.image_tokens, self.image_token_dim = image_tokens, image_token_dim
        self.tokens = obs_steps * (len(cameras) * image_tokens + 1) + len(cameras)
        self.token_dim = dim
        self.project = nn.ModuleDict(
            {camera: nn.Linear(image_token_dim, dim) for camera in cameras}
        )
        self.camera = learned_positions(len(cameras), dim)
        self.positions = learned_positions(obs_steps * image_tokens, dim)
        self.summaries = learned_positions(len(cameras), dim)
        self.state = StateEncoder(state=state, obs_steps=obs_steps, dim=dim, hidden=hidden)
        self.encoder = Encoder(dim, layers, heads, feedforward, dropout)

    def forward(self, batch: Batch) -> Tensor:
        """Return the tokens (B, N, D): the state's, the summaries, then each camera's."""
        state = self.state(batch)
        pictures = [
            self.project[camera](batch[CAMERA_TOKENS_PREFIX + camera]).flatten(1, 2)
            + self.positions
            + embedding
            for camera, embedding in zip(self.cameras, self.camera, strict=True)
        ]
        summaries = (self.summaries + self.camera).expand(len(state), -1, -1)
        return self.encoder(torch.cat([state, summaries, *pictures], dim=1))
