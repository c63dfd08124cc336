"""The schema of a ``dagger.yaml``: phase I, on-policy rounds, training, evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    JsonValue,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from data_collection.cluster.schema import ClusterConfig
from data_collection.generated import GeneratedConfig, RenderMode
from data_collection.recording import RecordingConfig
from data_collection.schema import DriverConfig, LabelConfig
from trainer.config_tree import flattened
from trainer.environment import EVALUATION_SEED_START
from trainer.schema import ComponentSpec, Device, PlanningConfig, RolloutConfig, Strict

ROLLOUTS_PER_ROUND = 20_000
ROUNDS = 49


class DartConfig(Strict):
    """Whose errors are the noise (see ``data_collection.dart``)."""

    student: str
    """A checkpoint: an epoch's folder, or a run's for its newest one."""
    data: str
    """A sealed round, in whose states its errors are measured."""
    scale: PositiveFloat = 1.0


class SourceConfig(DriverConfig):
    """Who drives some of the episodes of phase I."""

    dart: DartConfig | None = None
    """Disturb the driver as a student that exists already would err."""


class Phase1Config(Strict):
    """Round 0: teachers drive, the best of them labels."""

    sources: list[SourceConfig] = [SourceConfig()]
    episodes: Annotated[int, Field(gt=0, le=ROLLOUTS_PER_ROUND)]
    min_steps: PositiveInt | None = None
    """Complete with so many steps; ``episodes`` is then the most that there may be."""
    max_steps: PositiveInt | None = None
    render_mode: RenderMode = "simulator"


class Phase2Config(PlanningConfig):
    """Rounds 1, 2, …: the student drives, the teacher labels what it visits."""

    rollouts: Annotated[int, Field(gt=0, le=ROLLOUTS_PER_ROUND)] = 1000
    min_steps: PositiveInt | Annotated[list[PositiveInt], Field(min_length=1)] | None = None
    """Complete with so many steps; ``rollouts`` is then the most that there may be. A list gives
    each round its own number; the last one holds on."""
    max_steps: PositiveInt | None = None
    device: Device = "cpu"
    """Where the student decides."""
    mixing: ComponentSpec = ComponentSpec(type="beta_constant")
    labels: LabelConfig = LabelConfig()
    dart_scale: PositiveFloat | None = None
    """The teacher drives in the student's place, disturbed as the student errs, times this."""
    keep_better_driver: bool = True
    """When a round's student does worse than the one before, the better one drives on."""
    render_mode: RenderMode = "simulator"

    def min_steps_of(self, round: int) -> int | None:
        """Return the least number of steps of an on-policy round, 1 being the first."""
        if isinstance(self.min_steps, list):
            return self.min_steps[min(round, len(self.min_steps)) - 1]
        return self.min_steps


class DaggerTrainConfig(Strict):
    """The offline trainer's part of a round."""

    config: str
    """The experiment YAML that every round trains."""
    set: dict[str, JsonValue] = {}
    """Overrides of it, by dotted key; what one names is set as a whole, as by ``--set``."""
    start: Literal["previous", "scratch"] = "previous"
    """Train from the previous round's weights, or afresh on all data."""
    nproc_per_node: PositiveInt = 1

    @field_validator("set")
    @classmethod
    def _sections_are_not_replaced(cls, value: dict[str, JsonValue]) -> dict[str, object]:
        """Return a whole section, as ``--set train.set.train.steps=…`` makes one, by its keys."""
        flat: dict[str, object] = {}
        for key, each in value.items():
            flat |= {key: each} if "." in key else flattened({key: each})
        return flat


class DaggerEvaluationConfig(RolloutConfig):
    """The same seeds after every round."""

    episodes: PositiveInt = 50
    seed: Annotated[int, Field(ge=EVALUATION_SEED_START)] = EVALUATION_SEED_START
    video_every: int = 1
    """Rounds between videos; -1: none, which is faster."""
    videos: PositiveInt = 2
    render_mode: RenderMode = "simulator"
    prompts: str | None = None
    """With generated images: another collection than ``generated.prompts``, to hold some out."""


class DaggerConfig(Strict):
    """A whole DAgger experiment."""

    plugins: list[str]
    save_dir: str
    seed: Annotated[int, Field(ge=0, lt=10)] = 0
    n_rounds: Annotated[int, Field(ge=0, le=ROUNDS)] = 3
    """On-policy rounds after phase I; 0 is behaviour cloning."""
    environment: ComponentSpec
    generated: GeneratedConfig | None = None
    """How pictures are generated where a ``render_mode`` says so."""
    teacher: ComponentSpec
    min_teacher_success: Annotated[float, Field(ge=0, le=1)] | None = None
    min_teacher_return: float | None = None
    phase1: Phase1Config
    phase2: Phase2Config = Phase2Config()
    train: DaggerTrainConfig
    evaluation: DaggerEvaluationConfig = DaggerEvaluationConfig()
    recording: RecordingConfig = RecordingConfig()
    workers: PositiveInt | None = None
    environments_per_worker: PositiveInt = 1
    max_retries: NonNegativeInt = 2
    min_completed: Annotated[float, Field(gt=0, le=1)] = 1.0
    stale_timeout_s: PositiveFloat = 1800.0
    cluster: ClusterConfig = ClusterConfig()

    @model_validator(mode="after")
    def _generated_images_are_described(self) -> DaggerConfig:
        modes = self.phase1.render_mode, self.phase2.render_mode, self.evaluation.render_mode
        if "generated" in modes and self.generated is None:
            raise ValueError("render_mode: generated needs a section generated: {cameras, prompts}")
        return self

    @model_validator(mode="after")
    def _a_decision_has_room_for_all(self) -> DaggerConfig:
        if self.environments_per_worker > self.phase2.inference_batch:
            raise ValueError(
                f"environments_per_worker: {self.environments_per_worker} needs a "
                "phase2.inference_batch of at least as many"
            )
        return self

    def first_seed(self, round: int) -> int:
        """Return the seed of a round's first rollout: experiments and rounds never share one."""
        return self.seed * 1_000_000 + round * ROLLOUTS_PER_ROUND
