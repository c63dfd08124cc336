"""Teachers: who shows, or says, what to do. Each file registers one, under its own name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from trainer.environment import Environment, Observation
from trainer.registry import Registry

Moment = tuple[Environment, Observation, np.random.Generator]
"""An environment, what the learner sees there, and where chance comes from."""


class Teacher(ABC):
    """Says what to do in any state an environment can be in, whoever brought it there."""

    checkpoint: str | None = None
    """SHA-256 that names what the teacher was loaded from; None for one that is all code."""
    memoryless: bool = True
    """Whether ``act`` answers the present moment alone. Only such a teacher can label states in
    the middle of an episode in which another one acts."""

    sees_pictures: bool = False
    """Whether ``act`` looks at camera images. Such a teacher cannot make label chunks: cameras are
    off while it would act ahead."""

    def reset(self, environment: Environment) -> None:
        """Forget what was seen in ``environment``: an episode begins there."""
        return

    @abstractmethod
    def act(
        self, environment: Environment, observation: Observation, generator: np.random.Generator
    ) -> np.ndarray:
        """Return the action (A,) float32, real units, to be executed and to be learnt now.

        ``environment`` may be asked for what the learner does not see, and is not changed; it may
        be wrapped (``environment.unwrapped``). ``observation`` is what the learner sees. Chance
        comes from ``generator`` alone.
        """

    def act_in_each(self, moments: Sequence[Moment]) -> Sequence[np.ndarray]:
        """Return the actions at several moments; none may depend on which others there are."""
        return [self.act(*moment) for moment in moments]


teachers: Registry[Teacher] = Registry("teacher", ["root"])
