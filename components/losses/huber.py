"""Huber's loss: squared near zero, absolute far from it."""

from pydantic import PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from trainer.interfaces import Loss, LossOutput
from trainer.ops import masked_mean
from trainer.registry import losses


@losses.register("huber")
class Huber(Loss):
    """Huber's loss of each action element: e²/2 up to |e| = delta, delta · (|e| - delta/2) beyond.

    Source: Huber, Robust Estimation of a Location Parameter, 1964.
    """

    def __init__(self, *, delta: PositiveFloat = 1.0) -> None:
        self.delta = delta

    def __call__(self, prediction_bha: Tensor, target_bha: Tensor, valid_bh: Tensor) -> LossOutput:
        """Return the mean loss over the valid elements, and their number."""
        error = F.huber_loss(prediction_bha, target_bha, reduction="none", delta=self.delta)
        return LossOutput(*masked_mean(error, valid_bh))
