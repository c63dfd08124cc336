"""The schema of a ``collect.yaml``: one round of episodes."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import accumulate
from typing import Annotated, Literal

import numpy as np
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from data_collection.cluster.schema import ClusterConfig
from data_collection.generated import GeneratedConfig, RenderMode
from data_collection.recording import RecordingConfig
from trainer.environment import EVALUATION_SEED_START
from trainer.rollout import RolloutJob
from trainer.schema import ComponentSpec, Device, PlainValue, PlanningConfig, Strict
from trainer.seeding import stream_seed

EXECUTION_KEYS = frozenset(
    {
        "save_dir",
        "workers",
        "environments_per_worker",
        "max_retries",
        "min_completed",
        "stale_timeout_s",
        "cluster",
    }
)
"""How a round is made, not what is in it: these may change between a start and its resumption."""

_FINEST_SHARE = 10**6
"""Shares are read as fractions with denominators up to this: 0.6 as 3/5."""


class DriverConfig(Strict):
    """Who drives some of the episodes of a round."""

    teacher: ComponentSpec | None = None
    """A weaker teacher; None is the labelling teacher itself."""
    noise: NonNegativeFloat = 0.0
    """Standard deviation of Gaussian noise on executed actions; labels stay the teacher's."""
    noise_covariance: list[list[float]] | None = None
    """Covariance (A, A) of that noise instead, such as ``python -m data_collection.dart`` gives."""
    noise_student: str | None = None
    """SHA-256 of the student's weights whose errors that covariance is of, for the manifest."""
    share: Annotated[float, Field(ge=1 / _FINEST_SHARE)] = 1.0
    """Its part of the episodes, relative to the other drivers'."""

    @model_validator(mode="after")
    def _one_noise(self) -> DriverConfig:
        if self.noise and self.noise_covariance is not None:
            raise ValueError("noise and noise_covariance say the same thing; leave one out")
        if self.noise_student and self.noise_covariance is None:
            raise ValueError("noise_student says whose noise_covariance it is; give that, too")
        return self

    def noise_factor(self, action_dim: int) -> np.ndarray | None:
        """Return F (A, A) with F Fᵀ the covariance of the noise, None without noise.

        Raises:
            ValueError: The covariance is not one of ``action_dim`` dimensions.
        """
        if self.noise_covariance is None:
            return self.noise * np.eye(action_dim) if self.noise else None
        covariance = np.array(self.noise_covariance, dtype=np.float64)
        shape = (action_dim, action_dim)
        if covariance.shape != shape or not np.allclose(covariance, covariance.T):
            raise ValueError(f"noise_covariance: expected a symmetric matrix of shape {shape}")
        values, vectors = np.linalg.eigh(covariance)
        if values.min() < -1e-9 * max(1.0, values.max()):
            raise ValueError("noise_covariance: a covariance has no negative eigenvalue")
        return vectors * np.sqrt(np.maximum(values, 0.0))


class StudentConfig(PlanningConfig):
    """A student that drives, mixed with the labelling teacher."""

    checkpoint: str
    device: Device = "cpu"
    """Where it decides: what it does on another device, and so the round, is not the same to the
    bit."""
    mixing: ComponentSpec = ComponentSpec(type="beta_constant")


class LabelConfig(Strict):
    """How visited states are labelled."""

    relabel: Literal["stepwise", "rollout"] = "rollout"
    """``stepwise``: the teacher's action for each state, right for one-step policies. ``rollout``:
    also what the teacher would do from there on, for policies that predict chunks."""
    horizon: PositiveInt | None = None
    """Steps of a label chunk; the policy's chunk by default."""
    every: PositiveInt = 1
    """Label every so many states, where the teacher does not act alone: neighbours are alike, and
    labels are better spent on more episodes."""


class CollectConfig(Strict):
    """One round: who acts in which environment, how often, from which seeds on."""

    plugins: list[str]
    save_dir: str
    """The folder of the rounds, relative to the project root; this one is ``round_{NNN}`` in it."""
    round: NonNegativeInt = 0
    seed: NonNegativeInt = 0
    """Of the first attempt; attempt i has ``seed + i``. Give each round seeds of its own."""
    episodes: PositiveInt
    min_steps: PositiveInt | None = None
    """The round is complete as soon as its episodes have so many steps; ``episodes`` is then the
    most that it may have."""
    environment: ComponentSpec
    render_mode: RenderMode = "simulator"
    generated: GeneratedConfig | None = None
    """How pictures are generated; counts with ``render_mode: generated``."""
    teacher: ComponentSpec
    """Labels every visited state, and drives where ``drivers`` does not say otherwise."""
    drivers: Annotated[list[DriverConfig], Field(min_length=1)] = [DriverConfig()]
    student: StudentConfig | None = None
    """Drives in the place of ``drivers``: an on-policy round."""
    labels: LabelConfig = LabelConfig(relabel="stepwise")
    recording: RecordingConfig = RecordingConfig()
    keep_failures: bool = False
    """Otherwise an attempt without success is dropped, and another one is made."""
    max_attempts: PositiveInt | None = None
    """Give up after so many; four times ``episodes`` by default."""
    max_steps: PositiveInt | None = None
    stop_on_success: bool = True
    workers: PositiveInt | None = None
    """Processes; as many as CPUs by default."""
    environments_per_worker: PositiveInt = 1
    max_retries: NonNegativeInt = 2
    """How often a rollout that breaks down is played again, with the same seed."""
    min_completed: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of ``episodes`` with which a round is complete although others broke down for
    good, or do not end."""
    stale_timeout_s: PositiveFloat = 1800.0
    """Those that are left do not end when none has done so for this long."""
    cluster: ClusterConfig = ClusterConfig()
    """For ``--backend ray``."""

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

    @model_validator(mode="after")
    def _generated_images_are_described(self) -> CollectConfig:
        if self.render_mode == "generated" and self.generated is None:
            raise ValueError("render_mode: generated needs a section generated: {cameras, prompts}")
        return self

    @model_validator(mode="after")
    def _min_steps_keep_failures(self) -> CollectConfig:
        if self.min_steps is not None and not self.keep_failures:
            raise ValueError("min_steps counts every episode; it needs keep_failures: true")
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

    def driver_of(self, job: RolloutJob) -> int:
        """Return the index of the driver of a job's episode.

        The drivers' shares hold in every run of as few episodes as have room for them exactly;
        who drives which of them is shuffled with the round's seed.
        """
        shares = [Fraction(d.share).limit_denominator(_FINEST_SHARE) for d in self.drivers]
        parts = [share / sum(shares) for share in shares]
        block = min(self.episodes, math.lcm(*(part.denominator for part in parts)))
        number, place = divmod(job.seed - self.seed, block)
        order = np.random.default_rng(stream_seed(self.seed, "drivers", number)).permutation(block)
        bounds = [round(edge * block) for edge in accumulate(parts)]
        return int(np.searchsorted(bounds, order[place], side="right"))


class RoundConfig(CollectConfig):
    """A round's ``config.yaml``: how it was collected, and from what kind of environment."""

    recorded: dict[str, PlainValue]
