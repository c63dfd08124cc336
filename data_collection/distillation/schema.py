"""The schema of a ``distillation.yaml``: environment, teacher, student, the two stages, history."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from trainer.environment import EVALUATION_SEED_START
from trainer.schema import (
    CheckpointsConfig,
    ComponentSpec,
    Device,
    InterfaceConfig,
    ModelConfig,
    Strict,
)

Groups = Annotated[list[str], Field(min_length=1)]


class ObservationsConfig(Strict):
    """Which observation groups of the environment each one sees, side by side."""

    student: Groups = ["student"]
    teacher: Groups = ["teacher"]


class OnlineNormalizationConfig(Strict):
    """Scaling by the mean and standard deviation of everything collected so far."""

    state: Literal["mean_std", "none"] = "mean_std"
    action: Literal["mean_std", "none"] = "none"
    std_floor: PositiveFloat = 1e-2
    clip: PositiveFloat = 10.0


class AlgorithmConfig(Strict):
    """Who acts when, and what the student learns from."""

    use_two_stage_training: bool = True
    """Stage 1: the teacher acts; stage 2: the student does. Off: the student acts throughout."""
    phase1_iterations: PositiveInt = 500
    blend_iterations: NonNegativeInt = 0
    """Iterations after stage 1 over which the student's share of the steps rises from 0 to 1."""
    use_dagger: bool = True
    """Learn from the whole history. Off: from the newest iteration alone."""
    max_buffer_size: PositiveInt = 1_000_000
    """Transitions; then the oldest are forgotten."""
    storage_dtype: Literal["float32", "float16"] = "float32"
    sampling: Literal["uniform", "recency"] = "uniform"
    recency_half_life: PositiveFloat = 100.0
    """Iterations after which a transition is drawn half as often (``sampling: recency``)."""
    full_pass: bool = False
    """Every epoch goes over the whole history; off: it draws as much as was just collected."""
    save_buffer: bool = True
    """Whether checkpoints hold the history; without it a resumed run begins with an empty one."""
    num_learning_epochs: PositiveInt = 4
    num_mini_batches: PositiveInt = 1
    """Optimizer steps for as many transitions (or windows) as one iteration collects."""
    gradient_length: PositiveInt = 15
    """Steps through which the gradient of a student with a memory goes back."""
    memory: Literal["carried", "burnt_in"] = "carried"
    """What a window begins with: the memory stored when it was collected, or one made anew."""
    burn_in: PositiveInt = 10
    """Steps before a window that make its memory anew (``memory: burnt_in``)."""


class DistillTrainConfig(Strict):
    """How the student is optimised and saved; one loop iteration is collecting, then learning."""

    save_dir: str
    save_every: PositiveInt = 100
    """Iterations."""
    log_every: PositiveInt = 10
    """Iterations."""
    loss: ComponentSpec
    optimizer: ComponentSpec
    device: Device = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    threads: PositiveInt | None = None
    clip_grad_norm: PositiveFloat | None = 1.0
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    load_dir: str | None = None
    checkpoints: CheckpointsConfig = CheckpointsConfig(keep_last=2)


class StudentEvaluationConfig(Strict):
    """The student acts alone in environments of its own, always the same episodes."""

    every: PositiveInt = 50
    """Iterations."""
    num_envs: PositiveInt = 100
    """Environments, of which each plays one episode."""
    seed: Annotated[int, Field(ge=EVALUATION_SEED_START)] = EVALUATION_SEED_START


class DistillConfig(Strict):
    """A whole on-line distillation."""

    plugins: list[str]
    """What the student is made of."""
    simulation_plugins: list[str] = []
    """Environments and teachers."""
    seed: NonNegativeInt = 0
    environment: ComponentSpec
    num_envs: PositiveInt = 100
    observations: ObservationsConfig = ObservationsConfig()
    teacher: ComponentSpec | None = None
    interface: InterfaceConfig
    model: ModelConfig
    policy: ComponentSpec
    normalization: OnlineNormalizationConfig = OnlineNormalizationConfig()
    iterations: PositiveInt
    steps_per_iteration: PositiveInt
    """Steps of every environment."""
    algorithm: AlgorithmConfig = AlgorithmConfig()
    train: DistillTrainConfig
    evaluation: StudentEvaluationConfig | None = None
    logging: list[ComponentSpec] = [ComponentSpec(type="tensorboard")]

    @model_validator(mode="after")
    def _stages_fit(self) -> DistillConfig:
        stages = self.algorithm
        if stages.use_two_stage_training and stages.phase1_iterations >= self.iterations:
            raise ValueError(
                f"algorithm.phase1_iterations is {stages.phase1_iterations}, but the run has "
                f"{self.iterations} iterations: the student would never act; make the run longer, "
                "the first stage shorter, or set use_two_stage_training: false"
            )
        return self

    @model_validator(mode="after")
    def _best_is_measured(self) -> DistillConfig:
        every = self.evaluation.every if self.evaluation else None
        if self.train.checkpoints.best and (every is None or self.train.save_every % every):
            raise ValueError(
                "train.checkpoints.best compares figures of the evaluation, so each checkpoint "
                f"needs them; expected an evaluation.every that divides train.save_every "
                f"({self.train.save_every}), got {every}"
            )
        return self

    @property
    def block(self) -> int:
        """Transitions that one iteration collects."""
        return self.num_envs * self.steps_per_iteration
