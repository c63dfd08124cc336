"""A policy that acts and is never trained, to be told how."""

from torch import nn

from trainer.interfaces import Policy


class ActingPolicy(Policy):
    def __init__(self) -> None:
        super().__init__()
        self.components = nn.ModuleDict()

    def compute_loss(self, batch, progress):
        raise AssertionError("nobody trains it")
