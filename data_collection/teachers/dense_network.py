"""Small fully connected networks in numpy: what the files of several kinds of teacher hold.

Shape legend: I inputs, O outputs. A layer's weights have the shape (inputs, outputs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from data_collection.teachers import Moment, Teacher
from trainer.environment import STATE, Environment, Observation
from trainer.errors import ConfigError
from trainer.files import sha256_of

Activation = Literal["tanh", "relu", "elu"]

_ACTIVATIONS: dict[Activation, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
}

_BLOCK = 16
"""States of one product of matrices."""


@dataclass(frozen=True)
class DenseNetwork:
    """Standardised inputs, hidden layers with one activation, a linear output; all float64.

    Raises:
        ValueError: There is no layer, a value is not finite, or the shapes do not fit together.
    """

    mean_i: np.ndarray
    std_i: np.ndarray
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    """Weights and biases, the output layer last."""
    activation: Activation

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("expected at least one layer, got none")
        size = self.layers[0][0].shape[0]
        if {self.mean_i.shape, self.std_i.shape} != {(size,)}:
            raise ValueError(
                f"the first layer takes {size} numbers, the standardisation has "
                f"{self.mean_i.shape} and {self.std_i.shape}"
            )
        for number, (weights, biases) in enumerate(self.layers):
            if weights.shape != (size, *biases.shape):
                raise ValueError(
                    f"layer {number} has weights {weights.shape} and biases {biases.shape}, "
                    f"but gets {size} numbers"
                )
            size = len(biases)
        arrays = (self.mean_i, self.std_i, *(array for layer in self.layers for array in layer))
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("it holds numbers that are not finite")

    @property
    def inputs(self) -> int:
        """How many numbers it takes."""
        return len(self.mean_i)

    def __call__(self, x_i: np.ndarray) -> np.ndarray:
        """Return the outputs (O,), or (B, O) for a batch (B, I); float64."""
        *hidden, (out_weights, out_biases) = self.layers
        x = (x_i.astype(np.float64) - self.mean_i) / self.std_i
        for weights, biases in hidden:
            x = _ACTIVATIONS[self.activation](x @ weights + biases)
        return x @ out_weights + out_biases


class DenseTeacher(Teacher):
    """Acts as a network of the state says, without noise and without clipping.

    Args:
        network: From ``observation.state`` to the action.
        file: Where it was loaded from, for messages and as the teacher's fingerprint.
    """

    def __init__(self, network: DenseNetwork, file: Path) -> None:
        self._network = network
        self._file = file
        self.checkpoint = sha256_of(file)

    def act(
        self, environment: Environment, observation: Observation, generator: np.random.Generator
    ) -> np.ndarray:
        """Return the action (A,); raise ConfigError when the state has another size."""
        return self.act_in_each([(environment, observation, generator)])[0]

    def act_in_each(self, moments: Sequence[Moment]) -> Sequence[np.ndarray]:
        """Return the actions (A,); raise ConfigError when the states have another size."""
        shape = moments[0][1][STATE].shape
        if shape != (self._network.inputs,):
            raise ConfigError(
                f"{self._file}: this teacher takes a state of {self._network.inputs} numbers, the "
                f"environment gives {shape}; is it the teacher of another environment?"
            )
        # In blocks of one size, so that no bit of a row depends on how many others there are.
        states = np.zeros((-(-len(moments) // _BLOCK) * _BLOCK, self._network.inputs))
        for row, (_, observation, _) in zip(states, moments, strict=False):
            row[:] = observation[STATE]
        blocks = np.split(states, len(states) // _BLOCK)
        actions = np.concatenate([self._network(block) for block in blocks]).astype(np.float32)
        return list(actions[: len(moments)])
