"""What the teacher would do from a visited state on: label chunks for policies that predict chunks.

Shape legend: L labelled frames, H label-chunk steps, A action.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from data_collection.episodes.schema import LABEL_CHUNK, LABEL_FRAME, LABEL_VALID
from data_collection.teachers import Teacher
from trainer.environment import Environment
from trainer.errors import ConfigError, UserError
from trainer.rollout import Slot
from trainer.seeding import stream_seed


class ChunkLabels:
    """The label chunks of one running episode; there may be none."""

    def __init__(self, horizon: int, action_dim: int) -> None:
        self._shape = (horizon, action_dim)
        self.frames: list[int] = []
        self.chunks: list[np.ndarray] = []
        self.valid: list[np.ndarray] = []

    def arrays(self) -> dict[str, np.ndarray]:
        """Return ``label.frame`` (L,), ``label.chunk`` (L, H, A), ``label.valid`` (L, H)."""
        count = len(self.frames)
        return {
            LABEL_FRAME: np.array(self.frames, dtype=np.int64),
            LABEL_CHUNK: np.array(self.chunks, np.float32).reshape(count, *self._shape),
            LABEL_VALID: np.array(self.valid, bool).reshape(count, self._shape[0]),
        }


class ChunkLabeller:
    """Lets the teacher act for ``horizon`` steps from where an episode is, and goes back.

    The action that a teacher would take in the states of the *student's* path is not what it would
    do from here on: trained on such chunks, a student learns a mixture of both paths. So the
    simulator is saved, the teacher acts, and the simulator is restored to the bit.

    Args:
        teacher: Whose actions are the labels; it must decide from the present state alone.
        horizon: Steps of a chunk.
    """

    def __init__(self, teacher: Teacher, *, horizon: int) -> None:
        self.teacher = teacher
        self.horizon = horizon
        self.seconds = 0.0

    def begin(self, slot: Slot) -> ChunkLabels:
        """Return the record of an episode that has no labels yet."""
        return ChunkLabels(self.horizon, slot.environment.action_dim)

    def add(self, slot: Slot, labels: ChunkLabels, advice: np.ndarray) -> None:
        """Append the chunk of the slot's present frame; it begins with the teacher's ``advice``."""
        begin = time.perf_counter()
        chunk_ha, valid_h = self._chunk(slot, advice)
        labels.frames.append(slot.step)
        labels.chunks.append(chunk_ha)
        labels.valid.append(valid_h)
        self.seconds += time.perf_counter() - begin

    def _chunk(self, slot: Slot, advice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        environment = slot.environment
        generator = np.random.default_rng(stream_seed(slot.job.seed, "label", slot.step))
        actions = [advice]
        state = environment.save_state()
        with environment.imagining():
            while len(actions) < self.horizon:
                result = environment.step(actions[-1])
                if result.terminated:
                    break
                actions.append(self.teacher.act(environment, result.observation, generator))
        environment.restore_state(state)
        valid_h = np.arange(self.horizon) < len(actions)
        actions += actions[-1:] * (self.horizon - len(actions))
        return np.stack(actions), valid_h


def check_restorable(environments: Sequence[Environment]) -> None:
    """Raise ConfigError when label chunks are asked of a simulator that cannot go back."""
    environment = environments[0]
    environment.reset(0)
    try:
        environment.restore_state(environment.save_state())
    except UserError as error:
        raise ConfigError(
            f"labels.relabel: rollout lets the teacher act ahead and then goes back, but {error}; "
            "use relabel: stepwise with a one-step policy (interface.chunk: 1), or add "
            "save_state and restore_state to the environment"
        ) from error
