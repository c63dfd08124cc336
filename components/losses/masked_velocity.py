"""Squared error of velocities, the near future counting more."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from trainer.interfaces import Loss, LossOutput
from trainer.ops import masked_mean
from trainer.registry import losses


@losses.register("masked_velocity")
class MaskedVelocity(Loss):
    """The squared error of each element, times ``discount`` to the power of its step in the chunk.

    A policy that replans before its chunk ends executes the first steps alone; these should be
    right first. The weights average to 1 over a chunk, so that losses stay comparable with ``l2``.

    Args:
        discount: What a step counts relative to the one before it; 1 is ``l2``.
    """

    def __init__(self, *, discount: Annotated[float, Field(gt=0, le=1)] = 1.0) -> None:
        self.discount = discount

    def __call__(self, prediction_bha: Tensor, target_bha: Tensor, valid_bh: Tensor) -> LossOutput:
        """Return the weighted mean over the valid elements, and their number."""
        steps = torch.arange(prediction_bha.shape[1], device=prediction_bha.device)
        weight_h1 = (self.discount**steps)[:, None]
        error_bha = (prediction_bha - target_bha).square() * (weight_h1 / weight_h1.mean())
        return LossOutput(*masked_mean(error_bha, valid_bh))
