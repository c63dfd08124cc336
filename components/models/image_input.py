"""What happens to pictures before a backbone sees them, in training and in acting alike."""

from collections.abc import Sequence

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.errors import ConfigError

ImageShape = tuple[PositiveInt, PositiveInt, PositiveInt]
"""Channels, height and width."""
Size = tuple[PositiveInt, PositiveInt]
"""Height and width."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageInput(nn.Module):
    """uint8 pictures become floats: cropped, resized, scaled to [0, 1], then normalised.

    Args:
        image: Shape of the recorded pictures.
        crop: Height and width to cut out of the middle. Pictures that ``random_crop`` cut to this
            size in training pass as they are.
        resize: Height and width to scale to, after the crop.
        mean: Of each channel, for pictures in [0, 1].
        std: Of each channel.

    Raises:
        ConfigError: The picture has other channels, or is smaller than the crop.
    """

    def __init__(
        self,
        image: ImageShape,
        crop: Size | None,
        resize: Size | None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        if image[0] != len(mean):
            raise ConfigError(f"image: expected {len(mean)} channels, got {list(image)}")
        self.image, self.resize = image, resize
        self.crop = crop or image[1:]
        if self.crop[0] > image[1] or self.crop[1] > image[2]:
            raise ConfigError(f"crop: expected at most {list(image[1:])}, got {list(self.crop)}")
        self.size = resize or self.crop
        """Height and width of what comes out."""
        scale = 1 / torch.tensor(std)
        self.register_buffer("scale", (scale / 255).view(-1, 1, 1), persistent=False)
        self.register_buffer(
            "shift", (-torch.tensor(mean) * scale).view(-1, 1, 1), persistent=False
        )

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Return the pictures as float32 (n, C, *size), channels last in memory."""
        height, width = images_nchw.shape[-2:]
        if (height, width) not in (self.image[1:], self.crop):
            raise ConfigError(
                f"pictures of {height} × {width}: expected {self.image[1]} × {self.image[2]}, or "
                f"the crop's {self.crop[0]} × {self.crop[1]}; is random_crop.size the same?"
            )
        top, left = (height - self.crop[0]) // 2, (width - self.crop[1]) // 2
        cropped = images_nchw[..., top : top + self.crop[0], left : left + self.crop[1]]
        pixels = cropped.to(torch.float32, memory_format=torch.channels_last)
        if self.resize:
            pixels = F.interpolate(pixels, self.resize, mode="bilinear", antialias=True)
        return pixels * self.get_buffer("scale") + self.get_buffer("shift")
