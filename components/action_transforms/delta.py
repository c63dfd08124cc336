"""Actions relative to the action before."""

import torch
from torch import Tensor

from components.action_transforms.state_reference import check_indices, state_reference
from trainer.interfaces import ActionTransform
from trainer.registry import action_transforms


@action_transforms.register("delta")
class Delta(ActionTransform):
    """Takes differences of consecutive actions, of the first one to the newest observed state.

    Step k depends on the steps up to k only, so that padding at the end never reaches valid steps.

    Args:
        state_indices: For each action dimension the state component that the first difference is
            taken to; null leaves the dimension absolute (a gripper, say).
    """

    def __init__(self, *, state_indices: list[int | None]) -> None:
        self.state_indices = check_indices(state_indices)

    def forward(self, action_bha: Tensor, state_bs: Tensor) -> Tensor:
        """Return the differences."""
        first_bha = state_reference(action_bha, state_bs, self.state_indices)[:, None]
        previous_bha = torch.cat([first_bha, action_bha[:, :-1]], dim=1)
        return torch.where(self._relative(action_bha), action_bha - previous_bha, action_bha)

    def inverse(self, action_bha: Tensor, state_bs: Tensor) -> Tensor:
        """Return the running sums of the differences, starting at the state."""
        first_bha = state_reference(action_bha, state_bs, self.state_indices)[:, None]
        absolute_bha = first_bha + action_bha.cumsum(dim=1)
        return torch.where(self._relative(action_bha), absolute_bha, action_bha)

    def _relative(self, action_bha: Tensor) -> Tensor:
        """Return (A,): True for the dimensions of which differences are taken."""
        relative = [index is not None for index in self.state_indices]
        return torch.tensor(relative, device=action_bha.device)
