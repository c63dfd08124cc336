"""Observation tokens from cameras and proprioception."""

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from components.models.contracts import CAMERA_TOKENS_PREFIX, ObservationEncoder
from components.models.image_input import ImageShape
from components.models.state_encoder import StateEncoder
from components.models.transformer import learned_positions
from trainer.interfaces import Batch
from trainer.registry import models


@models.register("camera_encoder")
class CameraEncoder(ObservationEncoder):
    """The tokens of every picture, told apart by learnt embeddings, then those of the state.

    Args:
        cameras: The interface's cameras.
        image_tokens: Tokens that a backbone makes of one picture.
        image_token_dim: Width of those tokens.
        state: Size of the state.
        obs_steps: Steps of history, each with all pictures and one state token.
        dim: Width of the tokens.
        hidden: Width of the state's hidden layer.
    """

    def __init__(
        self,
        *,
        cameras: Annotated[dict[str, ImageShape], Field(min_length=1)],
        image_tokens: PositiveInt,
        image_token_dim: PositiveInt,
        state: PositiveInt,
        obs_steps: PositiveInt,
        dim: PositiveInt,
        hidden: PositiveInt,
    ) -> None:
        super().__init__()
        self.cameras = tuple(cameras)
        self.image_tokens = image_tokens
        self.image_token_dim = image_token_dim
        self.tokens = obs_steps * (len(cameras) * image_tokens + 1)
        self.token_dim = dim
        self.project = nn.ModuleDict(
            {camera: nn.Linear(image_token_dim, dim) for camera in cameras}
        )
        self.positions = learned_positions(len(cameras) * obs_steps * image_tokens, dim)
        self.state = StateEncoder(state=state, obs_steps=obs_steps, dim=dim, hidden=hidden)

    def forward(self, batch: Batch) -> Tensor:
        """Return the tokens (B, N, D) of the cameras' tokens (B, To, T, width) and the state."""
        pictures = [
            self.project[camera](batch[CAMERA_TOKENS_PREFIX + camera]).flatten(1, 2)
            for camera in self.cameras
        ]
        return torch.cat([torch.cat(pictures, dim=1) + self.positions, self.state(batch)], dim=1)
