"""One policy for several tasks: a token that says which one it is."""

from pydantic import PositiveInt
from torch import Tensor, nn

from components.models.transformer import learned_positions
from trainer.interfaces import TASK, Batch, TaskAware
from trainer.registry import models


@models.register("task_embedding")
class TaskEmbedding(nn.Module, TaskAware):
    """A learnt token for each task.

    Args:
        tasks: How many tasks there are.
        dim: Width of the token: the observation encoder's.
    """

    def __init__(self, *, tasks: PositiveInt, dim: PositiveInt) -> None:
        super().__init__()
        self.tasks, self.dim = tasks, dim
        self.embedding = learned_positions(tasks, dim)

    def forward(self, batch: Batch) -> Tensor:
        """Return tokens (B, 1, D) of ``task`` (B,)."""
        return self.embedding[batch[TASK]][:, None]
