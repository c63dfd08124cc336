"""What is recorded of the episodes that ``trainer.rollout`` plays, and who acts in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from data_collection.episode_buffer import EpisodeArrays, EpisodeBuffer
from data_collection.episodes.schema import EXPERT, OTHER, STUDENT
from data_collection.labelling import ChunkLabeller, ChunkLabels
from data_collection.mixing import Mixing
from data_collection.recording import RecordingConfig
from data_collection.teachers import Teacher
from trainer.environment import StepResult
from trainer.errors import UserError
from trainer.rollout import EpisodeResult, RolloutError, RolloutHooks, RolloutJob, Slot


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
        label_every: Steps between labelled states, except where the teacher drives undisturbed:
            there its own actions are labels that cost nothing.
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
        label_every: int = 1,
        recording: RecordingConfig | None = None,
    ) -> None:
        self._teacher = teacher
        self._driver_of = driver_of
        self._mixing = mixing
        self._labeller = labeller
        self._label_every = label_every
        self._on_episode = on_episode
        self._recording = recording
        self._episodes: dict[int, _Episode] = {}

    def on_reset(self, slot: Slot) -> None:
        """Begin a new record."""
        driver = self._driver_of(slot.job)
        for teacher in {self._teacher, driver.teacher} - {None}:
            teacher.reset(slot.environment)
        if self._mixing:
            self._mixing.reset(slot.environment)
        draw = float(slot.generator.random())
        self._episodes[slot.index] = _Episode(
            driver,
            EpisodeBuffer(self._recording),
            draw=draw,
            own_path=driver.teacher is self._teacher and driver.noise is None,
            mixing=self._mixing if self._mixing and self._mixing.needs_teacher(draw) else None,
            chunks=self._labeller.begin(slot) if self._labeller else None,
        )

    def before_steps(self, slots: Sequence[Slot]) -> None:
        """Ask the teacher where it is needed, all at once: a network answers in one batch."""
        asked = [slot for slot in slots if self._needs_advice(slot)]
        if not asked:
            return
        for slot, advice in zip(asked, self._advice(asked), strict=True):
            self._episodes[slot.index].advice = advice

    def choose_action(self, slot: Slot, planned: np.ndarray | None) -> np.ndarray:
        """Return the action of whoever acts now, disturbed by the driver's noise."""
        episode = self._episodes[slot.index]
        episode.label = episode.advice if self._is_labelled(slot) else None
        # Along an undisturbed teacher's own path its actions are the chunk already.
        if self._labeller and episode.chunks and episode.label is not None and not episode.own_path:
            self._labeller.add(slot, episode.chunks, episode.label)
        action, episode.actor = self._act(slot, planned, episode)
        if episode.driver.noise is None:
            return action
        disturbance = episode.driver.noise @ slot.generator.standard_normal(len(action))
        return (action + disturbance).astype(np.float32)

    def _is_labelled(self, slot: Slot) -> bool:
        return self._episodes[slot.index].own_path or slot.step % self._label_every == 0

    def _needs_advice(self, slot: Slot) -> bool:
        """Return whether the teacher's action is recorded, executed or compared with here."""
        episode = self._episodes[slot.index]
        acts = episode.driver.teacher is self._teacher or episode.mixing is not None
        return acts or self._is_labelled(slot)

    def _advice(self, slots: Sequence[Slot]) -> Sequence[np.ndarray]:
        moments = [(slot.environment, slot.observation, slot.generator) for slot in slots]
        try:
            return self._teacher.act_in_each(moments)
        except UserError:
            raise
        except Exception:
            for slot, moment in zip(slots, moments, strict=True):  # whose episode was it?
                try:
                    self._teacher.act_in_each([moment])
                except Exception as error:
                    raise RolloutError(slot.job) from error
            raise

    def _act(
        self, slot: Slot, planned: np.ndarray | None, episode: _Episode
    ) -> tuple[np.ndarray, int]:
        driver = episode.driver.teacher
        if driver is self._teacher:
            return episode.advice, EXPERT
        if driver is not None:
            return driver.act(slot.environment, slot.observation, slot.generator), OTHER
        if planned is None:
            raise ValueError("a student drives, but nothing plans its actions")
        if episode.mixing and episode.mixing.teacher_acts(
            slot.environment,
            slot.observation,
            episode.advice,
            planned,
            step=slot.step,
            episode_draw=episode.draw,
            generator=slot.generator,
        ):
            slot.interrupt()
            return episode.advice, EXPERT
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
    own_path: bool
    """Whether the labelling teacher drives, undisturbed."""
    mixing: Mixing | None
    """Where the teacher may act in the student's place."""
    chunks: ChunkLabels | None
    advice: np.ndarray = field(init=False)
    """What the labelling teacher would do; of an earlier step where it was not asked."""
    label: np.ndarray | None = field(init=False)
    """That, as it is recorded: None where none is recorded: only every so many states have one."""
    actor: int = field(init=False)

    def arrays(self) -> EpisodeArrays:
        """Return all that is recorded of the episode."""
        return self.buffer.arrays() | (self.chunks.arrays() if self.chunks else {})
