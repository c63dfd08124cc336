"""Pictures with changed brightness, contrast, saturation and hue.

Shape legend: B batch, To observation steps, H height, W width; the three channels are red, green
and blue.
"""

from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from trainer.interfaces import IMAGE_PREFIX, Augmentation, Batch
from trainer.registry import augmentations


@augmentations.register("color_jitter")
class ColorJitter(Augmentation):
    """Changes the colours of uint8 pictures; every sample and camera draws its own factors.

    All steps of a sample's history change alike. The changes are those of torchvision's
    ``functional`` module, in the order of the arguments, rounded once at the end.

    Args:
        brightness: Factor drawn from 1 ± this (not below 0); 0 leaves it out, as below.
        contrast: The same for the distance to the picture's mean grey.
        saturation: The same for the distance to each pixel's own grey.
        hue: Turn of the colour circle, drawn from ± this share of it.
    """

    def __init__(
        self,
        *,
        brightness: NonNegativeFloat = 0.3,
        contrast: NonNegativeFloat = 0.3,
        saturation: NonNegativeFloat = 0.3,
        hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0,
    ) -> None:
        changes = (
            (adjust_brightness, brightness, 1.0),
            (adjust_contrast, contrast, 1.0),
            (adjust_saturation, saturation, 1.0),
            (adjust_hue, hue, 0.0),
        )
        self._changes = [change for change in changes if change[1] > 0]

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return a copy of the batch with every camera's pictures changed, uint8 as before."""
        return batch | {
            key: self._change(value, generator)
            for key, value in batch.items()
            if key.startswith(IMAGE_PREFIX)
        }

    def _change(self, image_bo3hw: Tensor, generator: torch.Generator) -> Tensor:
        pixels = image_bo3hw.float() / 255
        for adjust, spread, middle in self._changes:
            draw = torch.rand(len(pixels), generator=generator, device=generator.device)
            factor = middle + spread * (2 * draw - 1)
            pixels = adjust(pixels, factor.to(pixels.device).view(-1, 1, 1, 1, 1))
        return (pixels * 255).round_().to(torch.uint8)


def adjust_brightness(pixels: Tensor, factor: Tensor) -> Tensor:
    """Return the pictures (…, 3, H, W) in [0, 1] scaled by ``factor``."""
    return _blend(pixels, torch.zeros_like(pixels), factor)


def adjust_contrast(pixels: Tensor, factor: Tensor) -> Tensor:
    """Return the pictures' distance to their mean grey scaled by ``factor``."""
    return _blend(pixels, _grey(pixels).mean(dim=(-2, -1), keepdim=True), factor)


def adjust_saturation(pixels: Tensor, factor: Tensor) -> Tensor:
    """Return each pixel's distance to its own grey scaled by ``factor``."""
    return _blend(pixels, _grey(pixels), factor)


def adjust_hue(pixels: Tensor, turn: Tensor) -> Tensor:
    """Return the pictures with every hue moved by ``turn``, a share of the colour circle.

    Through hue, value and chroma; back by ``value - chroma · clamp(min(k, 4 - k), 0, 1)`` with
    ``k = (n + 6 · hue) mod 6`` and n = 5, 3, 1 for red, green and blue.
    """
    red, green, blue = pixels.unbind(-3)
    value = pixels.amax(-3)
    chroma = value - pixels.amin(-3)
    divisor = torch.where(chroma == 0, 1.0, chroma)
    sixth = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixth = sixth + 6 * turn.squeeze(-3)
    channels = []
    for offset in (5, 3, 1):
        k = (offset + sixth) % 6
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, dim=-3)


def _blend(pixels: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (other + factor * (pixels - other)).clamp(0, 1)


def _grey(pixels: Tensor) -> Tensor:
    red, green, blue = pixels.unbind(-3)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).unsqueeze(-3)
