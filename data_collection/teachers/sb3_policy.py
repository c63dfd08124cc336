"""Agents trained with Stable-Baselines3, an optional package."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from data_collection.teachers import Teacher, teachers
from trainer.environment import STATE, Environment, Observation
from trainer.errors import CheckpointError, ConfigError
from trainer.files import sha256_of

_PACKAGE = "stable_baselines3"


class _Space(Protocol):
    shape: tuple[int, ...]


class _Agent(Protocol):
    observation_space: _Space

    def predict(
        self, observation: np.ndarray, *, deterministic: bool
    ) -> tuple[np.ndarray, object]: ...


@teachers.register("sb3_policy")
class Sb3Policy(Teacher):
    """Acts deterministically with an agent that Stable-Baselines3 has saved.

    Such a file holds pickles, which run code when they are loaded: hence ``trust_file``. An agent
    that was trained behind ``VecNormalize`` expects observations normalised in the same way.

    Args:
        root: The project root.
        path: The ``.zip`` file.
        algorithm: The class that saved it.
        trust_file: Say true for a file of your own, or of somebody whose code you would run.

    Raises:
        ConfigError: The package is not installed, or the file is not trusted.
        CheckpointError: The file is missing or cannot be loaded.
    """

    def __init__(
        self,
        root: Path,
        *,
        path: str,
        algorithm: Literal["A2C", "DDPG", "PPO", "SAC", "TD3"],
        trust_file: bool = False,
    ) -> None:
        self._file = root / Path(path).expanduser()
        if not self._file.is_file():
            raise CheckpointError(f"{self._file}: no such file")
        if not trust_file:
            raise ConfigError(
                f"{self._file}: loading it runs whatever code its author put in; set "
                "teacher.params.trust_file: true if you trust it"
            )
        self._agent = _load(self._file, algorithm)
        self.checkpoint = sha256_of(self._file)

    def act(
        self, environment: Environment, observation: Observation, generator: np.random.Generator
    ) -> np.ndarray:
        """Return the action (A,); raise ConfigError when the state has another size."""
        state, wanted = observation[STATE], self._agent.observation_space.shape
        if state.shape != wanted:
            raise ConfigError(
                f"{self._file}: this teacher takes a state of shape {wanted}, the environment "
                f"gives {state.shape}; is it the teacher of another environment?"
            )
        action, _ = self._agent.predict(state, deterministic=True)
        return action.astype(np.float32)


def _load(file: Path, algorithm: str) -> _Agent:
    try:
        package = importlib.import_module(_PACKAGE)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the teacher sb3_policy needs {error.name}; install this project with its sb3 extra"
        ) from error
    try:
        return getattr(package, algorithm).load(file, device="cpu")
    except Exception as error:  # whatever the file's own code raises
        raise CheckpointError(f"{file}: {algorithm} cannot load it: {error}") from error
