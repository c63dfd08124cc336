"""A small convolutional network for small pictures, which trains in minutes on a CPU."""

import math
from itertools import pairwise
from typing import Annotated

import torch
from einops import rearrange
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from components.models.contracts import Backbone
from components.models.image_input import ImageInput, ImageShape, Size
from trainer.errors import ConfigError
from trainer.registry import models

_GROUPS = 8


@models.register("conv_backbone")
class ConvBackbone(Backbone):
    """Strided convolutions, then a token that sums up: where each feature is, and how strong.

    Each layer halves the picture. The summary holds, for every channel of the last layer, the
    expected column and row under a softmax over positions, and the mean.
    Source of the spatial softmax: Finn et al., Deep Spatial Autoencoders, 2016, section IV.

    Args:
        image: Channels, height and width of the recorded pictures.
        channels: Width of each layer, a multiple of 8.
        positions: After the summary, projected to their width, come the last layer's features at
            each position; otherwise the summary is the only token.
        crop: See ``ImageInput``.
        resize: See ``ImageInput``.
    """

    def __init__(
        self,
        *,
        image: ImageShape,
        channels: Annotated[list[PositiveInt], Field(min_length=1)],
        positions: bool = False,
        crop: Size | None = None,
        resize: Size | None = None,
    ) -> None:
        super().__init__()
        if any(width % _GROUPS for width in channels):
            raise ConfigError(f"channels: expected multiples of {_GROUPS}, got {channels}")
        self.image = image
        self.input = ImageInput(image, crop, resize)
        self.layers = nn.Sequential()
        for before, after in pairwise([image[0], *channels]):
            convolution = nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1)
            self.layers.extend([convolution, nn.GroupNorm(_GROUPS, after), nn.ReLU(inplace=True)])
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.tokens, self.token_dim = 1, 3 * channels[-1]
        if positions:
            self.project = nn.Linear(self.token_dim, channels[-1])
            halved = 2 ** len(channels)
            self.tokens += math.prod(-(-side // halved) for side in self.input.size)
            self.token_dim = channels[-1]

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Return the tokens (n, T, width) of each picture, the summary first."""
        features_nchw = self.layers(self.input(images_nchw))
        column_mean, row_mean = spatial_softmax(features_nchw)
        summary = torch.cat([column_mean, row_mean, features_nchw.mean(dim=(2, 3))], dim=-1)
        if self.tokens == 1:
            return summary[:, None]
        positions_npc = rearrange(features_nchw, "n c h w -> n (h w) c")
        return torch.cat([self.project(summary)[:, None], positions_npc], dim=1)


def spatial_softmax(features_nchw: Tensor) -> tuple[Tensor, Tensor]:
    """Return the expected column and row (n, C) of each channel; -1 and 1 are the edges."""
    rows, columns = features_nchw.shape[-2:]
    weight_nchw = features_nchw.flatten(2).softmax(dim=-1).view_as(features_nchw)
    row = torch.linspace(-1, 1, rows, device=features_nchw.device)
    column = torch.linspace(-1, 1, columns, device=features_nchw.device)
    return weight_nchw.sum(dim=2) @ column, weight_nchw.sum(dim=3) @ row
