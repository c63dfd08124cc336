"""What is recorded of the episodes that ``trainer.rollout`` plays, and who acts in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from data_collection.episodes.schema import (
    ACTION,
    ACTION_VALID,
    ACTOR,
    EXECUTED_ACTION,
    EXPERT,
    REWARD,
    TERMINATED,
    TRUNCATED,
)
from data_collection.teachers import Teacher
from trainer.environment import Observation, StepResult
from trainer.rollout import EpisodeResult, RolloutHooks, Slot

EpisodeArrays = dict[str, np.ndarray]
"""One episode by batch key, T rows each: T observations and the T actions that answered them."""


class EpisodeBuffer:
    """The steps of a running episode."""

    def __init__(self) -> None:
        self._observations: list[Observation] = []
        self._labels: list[np.ndarray | None] = []
        self._executed: list[np.ndarray] = []
        self._actors: list[int] = []
        self._results: list[StepResult] = []

    def add(
        self,
        observation: Observation,
        label: np.ndarray | None,
        executed: np.ndarray,
        actor: int,
        result: StepResult,
    ) -> None:
        """Append one step: what was seen, what the expert would do, what was done, by whom."""
        self._observations.append(observation)
        self._labels.append(label)
        self._executed.append(executed)
        self._actors.append(actor)
        self._results.append(result)

    def arrays(self) -> EpisodeArrays:
        """Return the episode as the arrays of an episode file."""
        nothing = np.zeros_like(self._executed[0])
        labels = [nothing if label is None else label for label in self._labels]
        observations = {
            key: np.stack([observation[key] for observation in self._observations])
            for key in self._observations[0]
        }
        return observations | {
            ACTION: np.stack(labels).astype(np.float32),
            ACTION_VALID: np.array([label is not None for label in self._labels]),
            EXECUTED_ACTION: np.stack(self._executed).astype(np.float32),
            ACTOR: np.array(self._actors, dtype=np.uint8),
            REWARD: np.array([result.reward for result in self._results], dtype=np.float32),
            TERMINATED: np.array([result.terminated for result in self._results]),
            TRUNCATED: np.array([result.truncated for result in self._results]),
        }


class ExpertHooks(RolloutHooks):
    """The teacher acts and is recorded; ``on_episode`` receives every finished episode.

    Args:
        teacher: Acts at every step.
        noise: Standard deviation of Gaussian noise on the executed action, in action units. The
            label stays the teacher's own, so that the learner sees how to come back (DART, Laskey
            et al. 2017).
        on_episode: Called with the result and the arrays.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        noise: float,
        on_episode: Callable[[EpisodeResult, EpisodeArrays], None],
    ) -> None:
        self._teacher = teacher
        self._noise = noise
        self._on_episode = on_episode
        self._buffers: dict[int, EpisodeBuffer] = {}
        self._labels: dict[int, np.ndarray] = {}

    def on_reset(self, slot: Slot) -> None:
        """Begin a new record."""
        self._buffers[slot.index] = EpisodeBuffer()

    def choose_action(self, slot: Slot, planned: np.ndarray | None) -> np.ndarray:
        """Return the teacher's action, disturbed by the noise."""
        label = self._teacher.act(slot.environment, slot.observation, slot.generator)
        self._labels[slot.index] = label
        if self._noise == 0:
            return label
        disturbance = self._noise * slot.generator.standard_normal(label.shape)
        return (label + disturbance).astype(np.float32)

    def on_step(self, slot: Slot, action: np.ndarray, result: StepResult) -> None:
        """Record the step."""
        label = self._labels[slot.index]
        self._buffers[slot.index].add(slot.observation, label, action, EXPERT, result)

    def on_episode_end(self, slot: Slot, result: EpisodeResult) -> None:
        """Hand the episode over."""
        self._on_episode(result, self._buffers.pop(slot.index).arrays())
