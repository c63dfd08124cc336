"""Pictures shifted by a few pixels, or cut smaller, at random.

Shape legend: B batch, To observation steps, C channels, H height, W width.
"""

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from trainer.errors import ConfigError
from trainer.interfaces import DEPTH_PREFIX, IMAGE_PREFIX, Augmentation, Batch
from trainer.registry import augmentations


@augmentations.register("random_crop")
class RandomCrop(Augmentation):
    """Pads each picture by repeating its edge, then cuts out a random part of it.

    Every sample and camera draws its own part; all steps of a sample's history, and the camera's
    depth, are cut alike. Source: Kostrikov et al., Image Augmentation Is All You Need (DrQ), 2021,
    section 3.1.

    Args:
        pad: Pixels added on each side.
        size: Height and width to cut out; None keeps those of the picture. A smaller size asks for
            the same ``crop`` in the backbones, which cut the middle when there is no augmentation.
    """

    def __init__(
        self, *, pad: NonNegativeInt = 4, size: tuple[PositiveInt, PositiveInt] | None = None
    ) -> None:
        self.pad = pad
        self.size = size

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return a copy of the batch with every camera's pictures cut.

        Raises:
            ConfigError: ``size`` is larger than a padded picture.
        """
        changed = dict(batch)
        for key in batch:
            if key.startswith(IMAGE_PREFIX):
                keys = [key, DEPTH_PREFIX + key.removeprefix(IMAGE_PREFIX)]
                pixel_bhw = self._draw(batch[key], generator)
                changed |= {k: _pick(batch[k], pixel_bhw) for k in keys if k in batch}
        return changed

    def _draw(self, image_bochw: Tensor, generator: torch.Generator) -> Tensor:
        """Return which pixel (index into H · W) comes where: (B, new height, new width)."""
        batch, (height, width) = len(image_bochw), image_bochw.shape[-2:]
        new_height, new_width = self.size or (height, width)
        slack = height + 2 * self.pad - new_height, width + 2 * self.pad - new_width
        if min(slack) < 0:
            raise ConfigError(
                f"random_crop.size: expected at most {height + 2 * self.pad} × "
                f"{width + 2 * self.pad} (the padded picture), got {new_height} × {new_width}"
            )
        top_b1, left_b1 = (
            torch.randint(s + 1, (batch, 1), generator=generator, device=generator.device)
            for s in slack
        )
        # Indices beyond the edge stop at it: the padding is never made.
        row_bh = top_b1 - self.pad + torch.arange(new_height, device=generator.device)
        column_bw = left_b1 - self.pad + torch.arange(new_width, device=generator.device)
        row_bh, column_bw = row_bh.clamp(0, height - 1), column_bw.clamp(0, width - 1)
        return (row_bh[:, :, None] * width + column_bw[:, None, :]).to(image_bochw.device)


def _pick(image_bochw: Tensor, pixel_bhw: Tensor) -> Tensor:
    flat = image_bochw.flatten(3).flatten(1, 2)  # (B, To · C, H · W)
    index = pixel_bhw.flatten(1)[:, None].expand(-1, flat.shape[1], -1)
    return flat.gather(2, index).view(*image_bochw.shape[:3], *pixel_bhw.shape[1:])
