"""Actions relative to the state at the start of their chunk."""

from torch import Tensor

from components.action_transforms.state_reference import check_indices, state_reference
from trainer.interfaces import ActionTransform
from trainer.registry import action_transforms


@action_transforms.register("chunk_relative")
class ChunkRelative(ActionTransform):
    """Subtracts the newest observed state from every action of the chunk.

    Args:
        state_indices: For each action dimension the state component that it is measured from;
            null leaves the dimension absolute (a gripper, say).
    """

    def __init__(self, *, state_indices: list[int | None]) -> None:
        self.state_indices = check_indices(state_indices)

    def forward(self, action_bha: Tensor, state_bs: Tensor) -> Tensor:
        """Return the chunk relative to the state."""
        return action_bha - state_reference(action_bha, state_bs, self.state_indices)[:, None]

    def inverse(self, action_bha: Tensor, state_bs: Tensor) -> Tensor:
        """Return the chunk in absolute coordinates."""
        return action_bha + state_reference(action_bha, state_bs, self.state_indices)[:, None]
