"""Absolute error."""

from torch import Tensor

from trainer.interfaces import Loss, LossOutput
from trainer.ops import masked_mean
from trainer.registry import losses


@losses.register("l1")
class L1(Loss):
    """The absolute error of each action element."""

    def __call__(self, prediction_bha: Tensor, target_bha: Tensor, valid_bh: Tensor) -> LossOutput:
        """Return the mean of |prediction - target| over the valid elements, and their number."""
        return LossOutput(*masked_mean((prediction_bha - target_bha).abs(), valid_bh))
