"""An environment whose episodes cost nothing: what is left is the cost of handing jobs out."""

from __future__ import annotations

import numpy as np

from data_collection.teachers import Teacher, teachers
from trainer.environment import STATE, Environment, Observation, StepResult
from trainer.registry import environments


@environments.register("empty_task")
class EmptyTask(Environment):
    """One step, and it is over."""

    control_hz, max_steps, action_dim = 10.0, 1, 1

    def __init__(self) -> None:
        self.observation_shapes = {STATE: (1,)}

    def reset(self, seed: int) -> Observation:
        """Return an observation that says nothing."""
        return {STATE: np.zeros(1, np.float32)}

    def step(self, action: np.ndarray) -> StepResult:
        """End the episode."""
        return StepResult({STATE: np.zeros(1, np.float32)}, 0.0, False, True, True)


@teachers.register("idle")
class Idle(Teacher):
    """Does nothing."""

    def act(
        self, environment: Environment, observation: Observation, generator: np.random.Generator
    ) -> np.ndarray:
        """Return no action."""
        return np.zeros(1, np.float32)
