"""How a latent reaches a decoder: as one more token of what it remembers.

Shape legend: B batch, L latent, D token width.
"""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from components.models.transformer import learned_positions
from trainer.registry import models


@models.register("latent_token")
class LatentToken(nn.Module):
    """Projects a latent to a token; a learnt token stands for "no latent" (guidance needs it).

    Source of the dropped condition: Ho & Salimans, Classifier-Free Diffusion Guidance, 2022.

    Args:
        latent: Numbers of the latent.
        memory_dim: Width of the token.
        can_drop: Whether there is a token for no latent.
    """

    def __init__(
        self, *, latent: PositiveInt, memory_dim: PositiveInt, can_drop: bool = True
    ) -> None:
        super().__init__()
        self.latent, self.memory_dim = latent, memory_dim
        self.project = nn.Linear(latent, memory_dim)
        self.can_drop = can_drop
        if can_drop:
            self.nothing = learned_positions(1, memory_dim)

    def forward(self, latent_bl: Tensor, dropped_b: Tensor | None = None) -> Tensor:
        """Return tokens (B, 1, D); rows that are ``dropped`` get the token for no latent."""
        token_b1d = self.project(latent_bl)[:, None]
        if dropped_b is None:
            return token_b1d
        return torch.where(dropped_b[:, None, None], self.nothing.to(token_b1d), token_b1d)
