"""Pictures restored from an embedding, to make it remember what the cameras saw.

Shape legend: B batch, K cameras.
"""

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.registry import models


@models.register("picture_decoder")
class PictureDecoder(nn.Module):
    """A linear layer onto a small grid, then transposed convolutions that double it each time.

    What comes out is small, ``grid`` · 2^len(channels) pixels a side: enough to tell where things
    are.

    Args:
        latent: Dimensions of the embedding.
        cameras: How many cameras' pictures it restores.
        grid: Height and width that it starts from.
        channels: Channels of the grid, then of each layer but the last, which makes the pictures.
    """

    def __init__(
        self,
        *,
        latent: PositiveInt,
        cameras: PositiveInt,
        grid: PositiveInt,
        channels: Annotated[list[PositiveInt], Field(min_length=1)],
    ) -> None:
        super().__init__()
        self.latent, self.cameras, self.grid = latent, cameras, grid
        self.size = grid * 2 ** len(channels)
        """Height and width of what comes out."""
        self.spread = nn.Linear(latent, channels[0] * grid * grid)
        self.layers = nn.Sequential()
        for before, after in zip(channels, [*channels[1:], 3 * cameras], strict=True):
            convolution = nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1)
            self.layers.extend([nn.GELU(), convolution])

    def forward(self, latent_bz: Tensor) -> Tensor:
        """Return the pictures (B, K, 3, size, size), on ``target``'s scale."""
        grid = self.spread(latent_bz).unflatten(-1, (-1, self.grid, self.grid))
        return self.layers(grid).float().unflatten(1, (self.cameras, 3))

    def target(self, images_bchw: Tensor) -> Tensor:
        """Return a camera's uint8 pictures (B, 3, H, W) as (B, 3, size, size) from -1 to 1."""
        small = F.interpolate(images_bchw.to(torch.float32), (self.size, self.size), mode="area")
        return small / 127.5 - 1
