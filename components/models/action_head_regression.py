"""A head that predicts one action chunk."""

from collections.abc import Sequence

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from components.models.contracts import ActionHead
from trainer.interfaces import Loss, LossOutput
from trainer.registry import models


@models.register("action_head_regression")
class ActionHeadRegression(ActionHead):
    """A linear layer onto the chunk, trained with the experiment's regression loss.

    Args:
        features: Numbers coming from the trunk.
        chunk: Steps of the action chunk.
        action: Size of one action.
    """

    def __init__(self, *, features: PositiveInt, chunk: PositiveInt, action: PositiveInt) -> None:
        super().__init__()
        self.features, self.chunk, self.action = features, chunk, action
        self.project = nn.Linear(features, chunk * action)

    def forward(self, features_bf: Tensor) -> Tensor:
        """Return the chunk (B, H, A)."""
        return self.project(features_bf).float().view(-1, self.chunk, self.action)

    def loss(
        self, features_bf: Tensor, target_bha: Tensor, valid_bh: Tensor, loss: Loss
    ) -> LossOutput:
        """Return the regression loss of the predicted chunk."""
        return loss(self(features_bf), target_bha, valid_bh)

    def act(self, features_bf: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Return the predicted chunk; nothing is random."""
        return self(features_bf)
