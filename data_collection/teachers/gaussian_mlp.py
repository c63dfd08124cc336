"""The experts of the imitation-learning course: Gaussian policies in pickles, their means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_collection.restricted_pickle import load_pickle
from data_collection.teachers import teachers
from data_collection.teachers.dense_network import DenseNetwork, DenseTeacher
from trainer.errors import ConfigError

_STD_FLOOR = 1e-6  # added to every standard deviation when these experts were trained


@teachers.register("gaussian_mlp")
class GaussianMlp(DenseTeacher):
    """Acts with the mean of a course expert's policy; the right environment: course_locomotion.

    Args:
        root: The project root.
        path: The expert's pickle, such as ``Hopper.pkl``. It cannot run code.

    Raises:
        DataError: The file is missing, or not a pickle of plain values and arrays.
        ConfigError: It has another layout.
    """

    def __init__(self, root: Path, *, path: str) -> None:
        file = root / Path(path).expanduser()
        super().__init__(load_expert(file), file)


def load_expert(file: Path) -> DenseNetwork:
    """Return the mean of the Gaussian policy in ``file``; raises as ``GaussianMlp`` does.

    Layout: ``nonlin_type``, and under ``GaussianPolicy`` the sections ``obsnorm``, ``hidden``
    (layers by name, applied in sorted order) and ``out``.
    """
    content = load_pickle(file)
    try:
        policy = _section(content, "GaussianPolicy")
        moments = _section(policy, "obsnorm", "Standardizer")
        mean, mean_square = (_array(moments, name).ravel() for name in ("mean_1_D", "meansq_1_D"))
        hidden = _section(policy, "hidden", "FeedforwardNet")
        layers = [_section(hidden, name, "AffineLayer") for name in sorted(hidden)]
        layers.append(_section(policy, "out", "AffineLayer"))
        if _section(content).get("nonlin_type") != "tanh":
            raise ValueError(f"expected nonlin_type 'tanh', got {_section(content)['nonlin_type']}")
        return DenseNetwork(
            mean,
            np.sqrt(np.maximum(0.0, mean_square - mean**2)) + _STD_FLOOR,
            tuple((_array(layer, "W"), _array(layer, "b").ravel()) for layer in layers),
            "tanh",
        )
    except (KeyError, ValueError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigError(
            f"{file}: expected the Gaussian policy of a course expert: {reason}"
        ) from error


def _section(content: object, *path: str) -> Mapping[str, object]:
    """Return the dictionary at ``path``; raise ValueError or KeyError where there is none."""
    for name in path:
        content = _section(content)[name]
    if not isinstance(content, dict):
        raise ValueError(f"{' / '.join(path) or 'the content'} is no dictionary")
    return content


def _array(section: Mapping[str, object], name: str) -> np.ndarray:
    array = section[name]
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise ValueError(f"{name} is no array of numbers")
    return array.astype(np.float64)
