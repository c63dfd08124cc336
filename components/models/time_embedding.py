"""Embedding of the flow time."""

import math

import torch
from torch import Tensor, nn


class TimeEmbedding(nn.Module):
    """Sines and cosines of the flow time at geometric frequencies, then a two-layer network.

    Source: the sinusoidal features of Vaswani et al., 2017, section 3.5, for a time in [0, 1].
    """

    def __init__(self, dim: int, frequencies: int = 32, max_frequency: float = 400.0) -> None:
        super().__init__()
        powers = torch.linspace(0.0, math.log(max_frequency), frequencies)
        self.register_buffer("frequency", powers.exp(), persistent=False)
        self.project = nn.Sequential(
            nn.Linear(2 * frequencies, dim), nn.SiLU(), nn.Linear(dim, dim)
        )

    def forward(self, time_b: Tensor) -> Tensor:
        """Return the embedding (B, D) of the times (B,)."""
        angle = time_b[:, None] * self.get_buffer("frequency")
        return self.project(torch.cat([angle.sin(), angle.cos()], dim=-1))
