"""The schema of a ``collect.yaml``: one round of episodes."""

from __future__ import annotations

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from trainer.environment import EVALUATION_SEED_START
from trainer.rollout import RolloutJob
from trainer.schema import ComponentSpec, Strict

EXECUTION_KEYS = frozenset({"save_dir", "workers", "environments_per_worker"})
"""How a round is made, not what is in it: these may change between a start and its resumption."""


class CollectConfig(Strict):
    """One round: who acts in which environment, how often, from which seeds on."""

    plugins: list[str]
    save_dir: str
    """The folder of the rounds, relative to the project root; this one is ``round_{NNN}`` in it."""
    round: NonNegativeInt = 0
    seed: NonNegativeInt = 0
    """Of the first attempt; attempt i has ``seed + i``. Give each round seeds of its own."""
    episodes: PositiveInt
    environment: ComponentSpec
    teacher: ComponentSpec
    noise: NonNegativeFloat = 0.0
    """Standard deviation of Gaussian noise on executed actions; labels stay the teacher's."""
    keep_failures: bool = False
    """Otherwise an attempt without success is dropped, and another one is made."""
    max_attempts: PositiveInt | None = None
    """Give up after so many; four times ``episodes`` by default."""
    max_steps: PositiveInt | None = None
    workers: PositiveInt | None = None
    """Processes; as many as CPUs by default."""
    environments_per_worker: PositiveInt = 1

    @model_validator(mode="after")
    def _no_evaluation_seeds(self) -> CollectConfig:
        last = self.seed + self.attempts - 1
        if last >= EVALUATION_SEED_START:
            raise ValueError(
                f"seeds from {EVALUATION_SEED_START} on are kept for evaluation, and "
                f"{self.attempts} attempts from seed {self.seed} on reach {last}; choose a lower "
                "seed"
            )
        return self

    @property
    def attempts(self) -> int:
        """How many episodes are played at most."""
        if self.keep_failures:
            return self.episodes
        return self.max_attempts or 4 * self.episodes

    def job(self, attempt: int) -> RolloutJob:
        """Return the job of this attempt."""
        return RolloutJob(id=f"{self.round:03d}_{attempt:06d}", seed=self.seed + attempt)
