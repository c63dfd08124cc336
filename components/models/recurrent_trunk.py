"""A recurrent network over the steps of an episode.

Shape legend: B batch, L steps, I inputs, F features, K layers.
"""

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from trainer.interfaces import State
from trainer.registry import models


@models.register("recurrent_trunk")
class RecurrentTrunk(nn.Module):
    """A GRU or an LSTM, whose memory starts from nothing where an episode begins.

    Sources: Cho et al., Learning Phrase Representations, 2014; Hochreiter and Schmidhuber, Long
    Short-Term Memory, 1997.

    Args:
        kind: ``gru`` or ``lstm``.
        inputs: I.
        features: F, the size of the memory in each layer.
        layers: K.
    """

    def __init__(
        self,
        *,
        kind: Literal["gru", "lstm"],
        inputs: PositiveInt,
        features: PositiveInt,
        layers: PositiveInt = 1,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.inputs, self.features, self.layers = inputs, features, layers
        network = nn.GRU if kind == "gru" else nn.LSTM
        self.network = network(inputs, features, layers, batch_first=True)

    def initial_state(self, batch_size: int) -> State:
        """Return the memory at the start of episodes: ``hidden`` (B, K, F), an LSTM's ``cell``."""
        zeros = next(self.parameters()).new_zeros(batch_size, self.layers, self.features)
        return {name: zeros.clone() for name in self._names}

    def forward(
        self, x_bli: Tensor, state: State, begins_bl: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Return the features (B, L, F) after each step, and the memory after the last.

        Args:
            x_bli: The inputs.
            state: The memory before the first step.
            begins_bl: Where an episode begins, so that nothing is remembered there.
        """
        memory = [state[name].transpose(0, 1).contiguous() for name in self._names]
        if begins_bl is None:
            features_blf, memory = self._run(x_bli, memory)
        else:
            features_blf, memory = self._run_episodes(x_bli, memory, begins_bl)
        return features_blf, {
            name: value.transpose(0, 1) for name, value in zip(self._names, memory, strict=True)
        }

    @property
    def _names(self) -> tuple[str, ...]:
        return ("hidden",) if self.kind == "gru" else ("hidden", "cell")

    def _run(self, x_bli: Tensor, memory: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        given = memory[0] if self.kind == "gru" else tuple(memory)
        features_blf, after = self.network(x_bli, given)
        return features_blf, [after] if self.kind == "gru" else list(after)

    def _run_episodes(
        self, x_bli: Tensor, memory: list[Tensor], begins_bl: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Run step by step where an episode begins inside, else in one call."""
        features: list[Tensor] = []
        start, length = 0, x_bli.shape[1]
        # Steps in which some episode begins; between them the network runs in one call.
        cuts = begins_bl.any(dim=0).nonzero().flatten().tolist()
        for cut in [*cuts, length]:
            if cut > start:
                part_blf, memory = self._run(x_bli[:, start:cut], memory)
                features.append(part_blf)
            if cut < length:
                goes_on_1b1 = ~begins_bl[:, cut][None, :, None]
                memory = [value * goes_on_1b1 for value in memory]
            start = cut
        return torch.cat(features, dim=1), memory
