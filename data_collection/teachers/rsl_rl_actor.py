"""Actors trained with RSL-RL's PPO, read from its checkpoints without the library."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_collection.teachers import teachers
from data_collection.teachers.dense_network import Activation, DenseNetwork, DenseTeacher
from trainer.errors import CheckpointError

_STD_FLOOR = 1e-2  # RSL-RL adds it to every observation's standard deviation

_Tensors = Mapping[str, Tensor]


@teachers.register("rsl_rl_actor")
class RslRlActor(DenseTeacher):
    """Acts with the mean of an RSL-RL actor: a fully connected network, its normaliser included.

    Reads what versions 1 to 5 write: ``actor_state_dict``, or ``model_state_dict`` with the
    normaliser inside or in ``obs_norm_state_dict``.

    Args:
        root: The project root.
        path: The checkpoint, such as ``model_1499.pt``. It cannot run code.
        activation: Of the hidden layers; RSL-RL does not save it.

    Raises:
        CheckpointError: The file is missing or holds no such actor.
    """

    def __init__(self, root: Path, *, path: str, activation: Activation = "elu") -> None:
        file = root / Path(path).expanduser()
        super().__init__(load_actor(file, activation), file)


def load_actor(file: Path, activation: Activation) -> DenseNetwork:
    """Return the actor in a checkpoint; raise CheckpointError when there is none."""
    checkpoint = _load(file)
    try:
        return _actor(checkpoint, activation)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{file}: expected an RSL-RL checkpoint whose actor is a fully connected network: "
            f"{error}; it holds {', '.join(map(str, checkpoint)) or 'nothing'}"
        ) from error


def _load(file: Path) -> Mapping[str, _Tensors]:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{file}: not a checkpoint of plain tensors: {reason}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file}: expected a dictionary, got {type(content).__name__}")
    return content


def _actor(checkpoint: Mapping[str, _Tensors], activation: Activation) -> DenseNetwork:
    if "actor_state_dict" in checkpoint:
        tensors, network, normalizer = checkpoint["actor_state_dict"], "mlp", "obs_normalizer."
    else:
        tensors, network = checkpoint["model_state_dict"], "actor"
        normalizer = "actor_obs_normalizer."
    recurrent = [name for name in tensors if name.startswith(("rnn.", "memory_a."))]
    if recurrent:
        raise ValueError(f"it is recurrent ({recurrent[0]})")
    layers = _layers(tensors, network)
    moments = checkpoint.get("obs_norm_state_dict")
    if moments is None:
        moments = {
            name.removeprefix(normalizer): tensor
            for name, tensor in tensors.items()
            if name.startswith(normalizer)
        }
    size = layers[0][0].shape[0]
    if not moments:
        return DenseNetwork(np.zeros(size), np.ones(size), layers, activation)
    mean, std = (_float64(moments[name]).ravel() for name in ("_mean", "_std"))
    return DenseNetwork(mean, std + _STD_FLOOR, layers, activation)


def _layers(tensors: _Tensors, network: str) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Return weights (inputs, outputs) and biases of ``{network}.0``, ``{network}.2``, … ."""
    matches = (re.fullmatch(rf"{network}\.(\d+)\.weight", name) for name in tensors)
    numbers = sorted(int(match[1]) for match in matches if match)
    if not numbers:
        raise ValueError(f"it has no {network}.0.weight")
    return tuple(
        (_float64(tensors[f"{network}.{i}.weight"]).T, _float64(tensors[f"{network}.{i}.bias"]))
        for i in numbers
    )


def _float64(tensor: Tensor) -> np.ndarray:
    return tensor.to(torch.float64).numpy()
