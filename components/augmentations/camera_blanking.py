"""Cameras fail: sometimes a policy has to do without one."""

from typing import Annotated

import torch
from pydantic import Field

from trainer.interfaces import DEPTH_PREFIX, IMAGE_PREFIX, Augmentation, Batch
from trainer.registry import augmentations


@augmentations.register("camera_blanking")
class CameraBlanking(Augmentation):
    """Blanks one camera chosen at random, in a share of the samples.

    Its pictures of all observation steps become black, its depth zero.

    Args:
        probability: The share of samples.
    """

    def __init__(self, *, probability: Annotated[float, Field(ge=0, le=1)] = 0.15) -> None:
        self.probability = probability

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the batch with some pictures (B, To, 3, H, W) blanked."""
        names = [key.removeprefix(IMAGE_PREFIX) for key in batch if key.startswith(IMAGE_PREFIX)]
        if not names:
            return batch
        rows = len(batch[IMAGE_PREFIX + names[0]])
        at = {"generator": generator, "device": generator.device}
        blanked_b = torch.rand(rows, **at) < self.probability
        camera_b = torch.randint(len(names), (rows,), **at)
        changed = dict(batch)
        for number, name in enumerate(names):
            dark_b = blanked_b & (camera_b == number)
            for key in (IMAGE_PREFIX + name, DEPTH_PREFIX + name):
                if key in batch:
                    pictures = batch[key]
                    changed[key] = pictures.masked_fill(
                        dark_b.to(pictures.device).view(-1, *[1] * (pictures.ndim - 1)), 0
                    )
        return changed
