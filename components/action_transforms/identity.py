"""Actions as they were recorded."""

from torch import Tensor

from trainer.interfaces import ActionTransform
from trainer.registry import action_transforms


@action_transforms.register("identity")
class Identity(ActionTransform):
    """Leaves actions as they are."""

    is_identity = True

    def forward(self, action_bha: Tensor, state_bs: Tensor) -> Tensor:
        """Return the chunk unchanged."""
        return action_bha

    def inverse(self, action_bha: Tensor, state_bs: Tensor) -> Tensor:
        """Return the chunk unchanged."""
        return action_bha
