"""The schema of an experiment YAML. Unknown keys and wrong types are errors; nothing is guessed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from trainer.environment import EVALUATION_SEED_START, Interface

PlainValue = JsonValue
"""What a YAML can hold: plain values, never code."""

Device = Literal["auto", "cpu", "cuda"]
"""Where something computes; ``auto`` is a GPU where there is one."""


class Strict(BaseModel):
    """A frozen section that accepts the keys it declares and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ComponentSpec(Strict):
    """A registered component and the keyword arguments of its constructor."""

    type: str
    params: dict[str, PlainValue] = {}


class InterfaceConfig(Strict):
    """What the policy sees and does; every other size in the YAMLs refers to it."""

    obs_steps: PositiveInt = 1
    chunk: PositiveInt
    control_hz: PositiveFloat
    state: PositiveInt
    action: PositiveInt
    cameras: dict[str, tuple[PositiveInt, PositiveInt, PositiveInt]] = {}

    def to_interface(self) -> Interface:
        """Return the contract's own type."""
        return Interface(**self.model_dump())


class ComponentOptim(Strict):
    """How one model component is optimised, relative to ``train.optimizer``."""

    freeze: bool = False
    lr_scale: NonNegativeFloat = 1.0
    weight_decay: NonNegativeFloat | None = None


class ModelConfig(Strict):
    """Which model components exist, where their architecture is written, how each is trained."""

    component_config_paths: dict[str, str]
    """Empty for a policy that makes its components itself."""
    component_build_args: dict[str, dict[str, PlainValue]] = {}
    component_optims: dict[str, ComponentOptim] = {}


class NormalizationConfig(Strict):
    """How states and actions are scaled, and what a warm start does with old statistics."""

    state: Literal["mean_std", "min_max", "none"] = "mean_std"
    action: Literal["mean_std", "min_max", "none"] = "mean_std"
    std_floor: PositiveFloat = 1e-2
    clip: PositiveFloat = 10.0
    on_warm_start: Literal["keep", "recompute"] = "keep"


class DataConfig(Strict):
    """Where samples come from and how they are batched."""

    dataset: ComponentSpec
    batch_size: PositiveInt
    num_workers: NonNegativeInt = 0
    action_transform: ComponentSpec = ComponentSpec(type="identity")
    augmentations: list[ComponentSpec] = []


class ValidationConfig(Strict):
    """A part of the episodes kept out of training, scored with the same noise every time."""

    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    every: PositiveInt = 10
    max_samples: PositiveInt = 1024


class BestConfig(Strict):
    """The checkpoint with the best value of this metric is never pruned."""

    metric: str
    mode: Literal["max", "min"] = "max"


class CheckpointsConfig(Strict):
    """Which checkpoints stay on disk beside the newest one; all of them where nothing is given."""

    keep_last: PositiveInt | None = None
    keep_every: PositiveInt | None = None
    best: BestConfig | None = None


class TrainConfig(Strict):
    """The loop: how long, how it is optimised, what is saved."""

    epochs: PositiveInt | None = None
    steps: PositiveInt | None = None
    save_every: PositiveInt
    save_dir: str
    loss: ComponentSpec
    optimizer: ComponentSpec
    device: Device = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    threads: PositiveInt | None = None
    compile: bool = False
    accumulate: PositiveInt = 1
    clip_grad_norm: PositiveFloat | None = 1.0
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    load_dir: str | None = None
    load_missing: list[str] = []
    load_surplus: list[str] = []
    log_every: PositiveInt = 50
    checkpoints: CheckpointsConfig = CheckpointsConfig()

    @model_validator(mode="after")
    def _one_length(self) -> TrainConfig:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        return self


class PlanningConfig(Strict):
    """How a policy drives environments; the same in evaluation and in collection."""

    execute_horizon: PositiveInt | None = None
    temporal_ensembling: PositiveFloat | None = None
    inference_batch: PositiveInt = 16


class RolloutConfig(PlanningConfig):
    """How a policy is judged by what it does."""

    max_steps: PositiveInt | None = None
    stop_on_success: bool = True


class EvaluationConfig(RolloutConfig):
    """Roll the acting weights out while training, and how ``trainer/evaluate.py`` does it."""

    plugins: list[str] = []
    environment: Literal["from_data"] | ComponentSpec = "from_data"
    every: PositiveInt | None
    """Epochs from one evaluation to the next; None: none while training."""
    episodes: PositiveInt = 50
    seed: Annotated[int, Field(ge=EVALUATION_SEED_START)] = EVALUATION_SEED_START
    videos: NonNegativeInt = 0


class ExperimentConfig(Strict):
    """One experiment: everything that decides a training run."""

    plugins: list[str]
    seed: NonNegativeInt = 0
    interface: InterfaceConfig
    model: ModelConfig
    policy: ComponentSpec
    normalization: NormalizationConfig = NormalizationConfig()
    data: DataConfig
    train: TrainConfig
    validation: ValidationConfig | None = None
    evaluation: EvaluationConfig | None = None
    logging: list[ComponentSpec] = [ComponentSpec(type="tensorboard")]
