"""Actors trained with RSL-RL's PPO as teachers of many environments at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_collection.distillation.teachers import VectorTeacher, vector_teachers
from data_collection.teachers.dense_network import Activation
from data_collection.teachers.rsl_rl_actor import load_actor

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh_,
    "relu": torch.relu_,
    "elu": torch.nn.functional.elu_,
}
"""In place: of a whole iteration's states, copies would not stay in the cache."""


@vector_teachers.register("rsl_rl_actor")
class RslRlActor(VectorTeacher):
    """Acts with the mean of an RSL-RL actor, its normaliser included.

    Args:
        root: The project root.
        device: Where it computes.
        path: The checkpoint, such as ``model_1499.pt``; see ``data_collection.teachers``.
        activation: Of the hidden layers; RSL-RL does not save it.

    Raises:
        CheckpointError: The file is missing or holds no such actor.
    """

    def __init__(
        self, root: Path, device: torch.device, *, path: str, activation: Activation = "elu"
    ) -> None:
        network = load_actor(root / Path(path).expanduser(), activation)
        self.observation_size = network.inputs
        self.num_actions = len(network.layers[-1][1])
        self._activation = _ACTIVATIONS[activation]
        # The standardisation is folded into the first layer, in float64.
        (weights, biases), *others = network.layers
        scaled = weights / network.std_i[:, None]
        layers = [(scaled, biases - network.mean_i @ scaled), *others]
        self._layers = [(_float32(w, device), _float32(b, device)) for w, b in layers]

    def __call__(self, observation_np: Tensor) -> Tensor:
        """Return the mean actions (N, A)."""
        *hidden, (weights, biases) = self._layers
        x = observation_np
        for hidden_weights, hidden_biases in hidden:
            x = self._activation(torch.addmm(hidden_biases, x, hidden_weights))
        return torch.addmm(biases, x, weights)


def _float32(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device, torch.float32)
