"""What policies expect of a model that sees depth in a camera's pictures.

Shape legend: n pictures, C channels, H height, W width, T tokens, D token width.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

DEPTH_STREAM = "depth"
"""Name of the visual stream that a depth model adds to those of the cameras."""


@dataclass(frozen=True)
class DepthView:
    """Tokens (n, T, D) about depth; ``depth_n1hw`` in metres where the model estimates it."""

    tokens_ntd: Tensor
    depth_n1hw: Tensor | None = None


class DepthStream(nn.Module, ABC):
    """Turns one camera's pictures, or what a backbone made of them, into tokens about depth."""

    camera: str
    """The camera it looks through."""
    estimates: bool
    """Whether it says how far away things are, which recorded depth can teach it."""
    tokens: int
    token_dim: int

    @abstractmethod
    def forward(self, images_nchw: Tensor, tokens_ntd: Tensor) -> DepthView:
        """Return the view of uint8 pictures (n, C, H, W) and their backbone's tokens (n, T, D)."""
