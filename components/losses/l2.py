"""Squared error."""

from torch import Tensor

from trainer.interfaces import Loss, LossOutput
from trainer.ops import masked_mean
from trainer.registry import losses


@losses.register("l2")
class L2(Loss):
    """The squared error of each action element."""

    def __call__(self, prediction_bha: Tensor, target_bha: Tensor, valid_bh: Tensor) -> LossOutput:
        """Return the mean of (prediction - target)² over the valid elements, and their number."""
        return LossOutput(*masked_mean((prediction_bha - target_bha).square(), valid_bh))
