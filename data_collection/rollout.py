"""What is recorded of the episodes that ``trainer.rollout`` plays, and who acts in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from data_collection.episodes.schema import (
    ACTION,
    ACTION_VALID,
    ACTOR,
    EXECUTED_ACTION,
    EXPERT,
    OTHER,
    REWARD,
    STUDENT,
    TERMINATED,
    TRUNCATED,
)
from data_collection.labelling import ChunkLabeller, ChunkLabels
from data_collection.mixing import Mixing
from data_collection.recording import Kept, RecordingConfig, stack
from data_collection.teachers import Teacher
from trainer.environment import Observation, StepResult
from trainer.rollout import EpisodeResult, RolloutHooks, RolloutJob, Slot

EpisodeArrays = dict[str, np.ndarray]
"""One episode by batch key, T rows each: T observations and the T actions that answered them."""


class EpisodeBuffer:
    """The steps of a running episode, as they are recorded."""

    def __init__(self, recording: RecordingConfig | None = None) -> None:
        self._recording = recording or RecordingConfig()
        self._observations: list[Kept] = []
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
        self._observations.append(self._recording.keep(observation))
        self._labels.append(label)
        self._executed.append(executed)
        self._actors.append(actor)
        self._results.append(result)

    def arrays(self) -> EpisodeArrays:
        """Return the episode as the arrays of an episode file."""
        nothing = np.zeros_like(self._executed[0])
        labels = [nothing if label is None else label for label in self._labels]
        return stack(self._observations) | {
            ACTION: np.stack(labels).astype(np.float32),
            ACTION_VALID: np.array([label is not None for label in self._labels]),
            EXECUTED_ACTION: np.stack(self._executed).astype(np.float32),
            ACTOR: np.array(self._actors, dtype=np.uint8),
            REWARD: np.array([result.reward for result in self._results], dtype=np.float32),
            TERMINATED: np.array([result.terminated for result in self._results]),
            TRUNCATED: np.array([result.truncated for result in self._results]),
        }


@dataclass(frozen=True)
class Driver:
    """Who acts in an episode: a teacher, or (``teacher`` None) the planned actions of a student.

    ``noise`` (A, A) times standard normal numbers is added to executed actions; None adds none.
    The label stays the labelling teacher's own, so that the learner sees how to come back (DART,
    Laskey et al. 2017).
    """

    teacher: Teacher | None
    noise: np.ndarray | None = None


class EpisodeHooks(RolloutHooks):
    """A driver acts, the teacher labels, and ``on_episode`` receives every finished episode.

    Args:
        teacher: Says what is right in every visited state; its actions are the labels.
        driver_of: Who acts in a job's episode.
        mixing: Decides when the teacher acts in the place of a student.
        labeller: Adds label chunks; None where an action a state is enough.
        on_episode: Called with the result and the arrays.
        recording: What is kept of the observations.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        driver_of: Callable[[RolloutJob], Driver],
        on_episode: Callable[[EpisodeResult, EpisodeArrays], None],
        mixing: Mixing | None = None,
        labeller: ChunkLabeller | None = None,
        recording: RecordingConfig | None = None,
    ) -> None:
        self._teacher = teacher
        self._driver_of = driver_of
        self._mixing = mixing
        self._labeller = labeller
        self._on_episode = on_episode
        self._recording = recording
        self._episodes: dict[int, _Episode] = {}

    def on_reset(self, slot: Slot) -> None:
        """Begin a new record."""
        driver = self._driver_of(slot.job)
        for teacher in {self._teacher, driver.teacher} - {None}:
            teacher.reset(slot.environment)
        self._episodes[slot.index] = _Episode(
            driver,
            EpisodeBuffer(self._recording),
            draw=float(slot.generator.random()),
            chunks=self._labeller.begin(slot) if self._labeller else None,
        )

    def choose_action(self, slot: Slot, planned: np.ndarray | None) -> np.ndarray:
        """Return the action of whoever acts now, disturbed by the driver's noise."""
        episode = self._episodes[slot.index]
        label = self._teacher.act(slot.environment, slot.observation, slot.generator)
        # Along an undisturbed teacher's own path its actions are the chunk already.
        own_path = episode.driver.teacher is self._teacher and episode.driver.noise is None
        episode.label = label
        if self._labeller and episode.chunks and not own_path:
            if self._labeller.is_due(slot):
                self._labeller.add(slot, episode.chunks)
            else:
                episode.label = None
        action, episode.actor = self._act(slot, planned, label, episode)
        if episode.driver.noise is None:
            return action
        disturbance = episode.driver.noise @ slot.generator.standard_normal(len(action))
        return (action + disturbance).astype(np.float32)

    def _act(
        self, slot: Slot, planned: np.ndarray | None, label: np.ndarray, episode: _Episode
    ) -> tuple[np.ndarray, int]:
        driver = episode.driver.teacher
        if driver is self._teacher:
            return label, EXPERT
        if driver is not None:
            return driver.act(slot.environment, slot.observation, slot.generator), OTHER
        if planned is None:
            raise ValueError("a student drives, but nothing plans its actions")
        if self._mixing and self._mixing.teacher_acts(
            slot.environment,
            slot.observation,
            label,
            planned,
            step=slot.step,
            episode_draw=episode.draw,
            generator=slot.generator,
        ):
            slot.planned.clear()  # the rest of the chunk answers a state that is not reached now
            return label, EXPERT
        return planned, STUDENT

    def on_step(self, slot: Slot, action: np.ndarray, result: StepResult) -> None:
        """Record the step."""
        episode = self._episodes[slot.index]
        episode.buffer.add(slot.observation, episode.label, action, episode.actor, result)

    def on_episode_end(self, slot: Slot, result: EpisodeResult) -> None:
        """Hand the episode over."""
        episode = self._episodes.pop(slot.index)
        self._on_episode(result, episode.arrays())


@dataclass
class _Episode:
    """A running episode's record, and what was decided for the present step."""

    driver: Driver
    buffer: EpisodeBuffer
    draw: float
    chunks: ChunkLabels | None
    label: np.ndarray | None = field(init=False)
    """None where none is recorded: only every so many states have one."""
    actor: int = field(init=False)

    def arrays(self) -> EpisodeArrays:
        """Return all that is recorded of the episode."""
        return self.buffer.arrays() | (self.chunks.arrays() if self.chunks else {})
