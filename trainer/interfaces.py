"""The contracts between the rooms of the house. Nothing here knows a concrete policy or simulator.

Shape legend: B batch, To observation steps, H action-chunk steps, S state, A action, C channels.

Batch keys (LeRobot's names). Sample ``t`` holds the observations ``t-To+1 … t`` and the actions
for ``t … t+H-1``:

==============================  ==================  =========  ====================================
key                             shape               dtype      meaning
==============================  ==================  =========  ====================================
observation.state               (B, To, S)          float32    proprioception, real units
observation.images.<camera>     (B, To, 3, H, W)    uint8      RGB, uint8 until on the device
observation.depth.<camera>      (B, To, 1, H, W)    float32    metres along the optical axis
action                          (B, H, A)           float32    target action chunk, real units
action_is_pad                   (B, H)              bool       True where the target is padding
task                            (B,)                int64      task index
episode_index, frame_index,     (B,)                int64      bookkeeping
round_index
==============================  ==================  =========  ====================================

A policy with a memory learns from windows of an episode (on-line distillation), in which step l of
the observations goes with step l of the targets. It names ``episode_start`` in ``needs``:

==============================  ==================  =========  ====================================
observation.state, action       (B, L, …)           float32    L consecutive steps
episode_start                   (B, L)              bool       True where an episode begins
memory.<name>                   (B, …)              float32    its memory before the first step
==============================  ==================  =========  ====================================

At the start of an episode the missing history repeats the first observation. Padded targets are a
suffix of the chunk and repeat its last valid action; every loss masks them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from trainer.environment import ACTION as ACTION
from trainer.environment import ACTION_IS_PAD as ACTION_IS_PAD
from trainer.environment import DEPTH_PREFIX as DEPTH_PREFIX
from trainer.environment import EPISODE_INDEX as EPISODE_INDEX
from trainer.environment import EPISODE_START as EPISODE_START
from trainer.environment import EVALUATION_SEED_START as EVALUATION_SEED_START
from trainer.environment import FRAME_INDEX as FRAME_INDEX
from trainer.environment import IMAGE_PREFIX as IMAGE_PREFIX
from trainer.environment import MEMORY_PREFIX as MEMORY_PREFIX
from trainer.environment import ROUND_INDEX as ROUND_INDEX
from trainer.environment import STATE as STATE
from trainer.environment import TASK as TASK
from trainer.environment import Environment as Environment
from trainer.environment import Interface as Interface
from trainer.environment import Observation as Observation
from trainer.environment import StepResult as StepResult
from trainer.errors import UserError
from trainer.schema import PlainValue

Batch = dict[str, Tensor]
State = dict[str, Tensor]
"""A policy's memory: tensors whose first dimension is the batch; empty when memoryless."""


@dataclass(frozen=True)
class Progress:
    """Where training stands: optimizer steps done, steps in all, this rank's random generator."""

    step: int
    total_steps: int
    generator: torch.Generator


@dataclass(frozen=True)
class LossOutput:
    """A loss that is a mean over ``weight`` valid elements, and metrics that stay on the device."""

    loss: Tensor
    weight: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureStatistics:
    """Exact statistics of one key over all its frames: float64 arrays of the feature's shape."""

    count: int
    mean: np.ndarray
    std: np.ndarray
    min: np.ndarray
    max: np.ndarray


class Normalizer(nn.Module, ABC):
    """Maps real units to the units that a policy learns in, and back."""

    @abstractmethod
    def normalize(self, batch: Batch) -> Batch:
        """Return a copy of ``batch`` whose state and (if present) action are normalised."""

    @abstractmethod
    def unnormalize_action(self, action_bha: Tensor, observation: Batch) -> Tensor:
        """Return the chunk in real units; ``observation`` is the un-normalised one it answers."""


class Loss(ABC):
    """An element-wise regression loss reduced through one masked mean.

    All parameters of its constructor are ``params`` of the YAML.
    """

    @abstractmethod
    def __call__(self, prediction_bha: Tensor, target_bha: Tensor, valid_bh: Tensor) -> LossOutput:
        """Return the mean over the valid elements, and their number as the weight."""


class OptimizerView(Protocol):
    """What ``Policy.after_step`` may do to the optimizer."""

    def copy_rows(self, parameter: nn.Parameter, rows: Tensor, source: Tensor) -> None:
        """Give ``rows`` of ``parameter`` the optimizer's memory (moments) of rows ``source``."""
        ...


class Policy(nn.Module, ABC):
    """What a policy plugin supplies. Every parameter and buffer lives in ``components``.

    Its constructor is given what it asks for of ``components`` (the models of the YAML,
    ``nn.ModuleDict``), ``interface`` and ``loss``; its other parameters are ``params`` of the YAML.
    """

    components: nn.ModuleDict
    normalizer: Normalizer
    needs: tuple[str, ...] = ()
    """Batch keys it learns from beside the interface's; one that needs ``task`` acts on it too."""

    @abstractmethod
    def compute_loss(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return the training loss of a batch in real units."""

    def forward(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return ``compute_loss``: one entry point for DDP, compile and autocast."""
        return self.compute_loss(batch, progress)

    def initial_state(self, batch_size: int) -> State:
        """Return the memory at the start of ``batch_size`` episodes; ``{}`` when memoryless."""
        return {}

    @abstractmethod
    def predict_action(
        self, observation: Batch, state: State, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, State]:
        """Return an action chunk (B, H, A) in real units and the new memory.

        ``generators`` holds one generator per row, so that an episode's noise depends on nothing
        but its own seed; draw with ``trainer.ops.randn_rows``.
        """

    def after_step(self, progress: Progress, optimizer: OptimizerView) -> None:
        """Do what follows an optimizer step (codebook replacement, EMA targets) without grad."""
        return

    def pictures(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """Return what it has learnt, shown on a batch in real units: (H, W, 3) uint8 by name."""
        return {}


class Pretrained(ABC):
    """A model component that may start from weights which were trained elsewhere.

    As every model's, its constructor is given ``root``, the project's folder, if it asks for it.
    """

    @abstractmethod
    def load_pretrained(self) -> None:
        """Take those weights over, in place; raise ConfigError when they cannot be had.

        Called once at the start of a run, never when a checkpoint replaces all weights.
        """

    def architecture(self) -> dict[str, PlainValue]:
        """Return the parameters that a checkpoint keeps, beside those that were written.

        A component whose architecture lies where its weights do gives it here, and takes it in its
        constructor: so a checkpoint can act where neither can be had.
        """
        return {}


class TaskAware(ABC):
    """A model component that knows so many tasks: those with the indices 0 to ``tasks`` - 1."""

    tasks: int


class Scorer(Policy, ABC):
    """A model that scores episodes instead of acting; see ``trainer/score.py``."""

    meaning: str
    """What the scores are, their unit, and what to beware of; higher is better."""

    @abstractmethod
    def score_episodes(self, batches: Iterable[Batch]) -> dict[int, float]:
        """Return a score for each ``episode_index`` seen in ``batches``."""

    def predict_action(
        self, observation: Batch, state: State, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, State]:
        """Raise UserError: a scorer does not act."""
        raise UserError(
            f"{type(self).__name__} scores episodes (trainer/score.py); it does not act"
        )


class ActionTransform(ABC):
    """An invertible change of action coordinates, applied before normalisation.

    All parameters of its constructor are ``params`` of the YAML.
    """

    is_identity = False
    """True when ``forward`` returns the chunk unchanged (then no statistics need recomputing)."""

    @abstractmethod
    def forward(self, action_bha: Tensor, state_bs: Tensor) -> Tensor:
        """Return the transformed chunk; ``state_bs`` is the newest observed state, real units."""

    @abstractmethod
    def inverse(self, action_bha: Tensor, state_bs: Tensor) -> Tensor:
        """Return the chunk that ``forward`` was given."""


class OptimizerPlugin(ABC):
    """A recipe: an optimizer and its learning-rate schedule, a pure function of the step.

    All parameters of its constructor are ``params`` of the YAML.
    """

    averages_weights = False
    """True when the optimizer keeps its own average of the weights (then EMA is an error)."""

    @abstractmethod
    def build(self, parameter_groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        """Return the optimizer; a group has ``params``, ``lr_scale`` and ``weight_decay``.

        ``weight_decay`` is already resolved (``None`` = this recipe's own); the loop multiplies
        the learning rate of each group by its ``lr_scale``.
        """

    @abstractmethod
    def learning_rate(self, step: int, total_steps: int) -> float:
        """Return the learning rate for the optimizer step with this zero-based index."""

    def averaged(self, optimizer: torch.optim.Optimizer) -> dict[nn.Parameter, Tensor]:
        """Return the averaged value of each parameter as new tensors, leaving the raw ones."""
        return {}

    def copy_rows(
        self,
        optimizer: torch.optim.Optimizer,
        parameter: nn.Parameter,
        rows: Tensor,
        source: Tensor,
    ) -> None:
        """Let what the optimizer knows of rows ``source`` hold for ``rows``, which were put there.

        Without a second moment, and that late in training, their first steps would be too long.
        """
        for value in optimizer.state[parameter].values():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                value[rows] = value[source]


class Dataset(ABC):
    """A source of samples which are fetched a batch at a time.

    Its constructor is given ``interface`` and ``root``, the folder that relative paths start from,
    if it asks for them; its other parameters are ``params`` of the YAML.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Return the collated batch of these samples, without task embedding or normalisation."""

    def low_dim(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Return a batch of state, action and padding alone: many samples, without pictures."""
        return self.__getitems__(indices)

    @abstractmethod
    def statistics(self) -> dict[str, FeatureStatistics]:
        """Return the statistics of ``observation.state`` and ``action`` over all samples."""

    @abstractmethod
    def episode_of_sample(self) -> np.ndarray:
        """Return (len,) int64: the episode index of each sample, for splitting by episode."""

    def episode_identities(self) -> list[dict[str, str]]:
        """Return what tells each episode, by its index, from all others: for files of scores."""
        raise UserError(f"{type(self).__name__} does not say which episodes it holds")

    def identity(self) -> str:
        """Return what tells these data from others of the same size; nothing where nobody knows.

        A run goes on with the same ones only.
        """
        return ""

    @abstractmethod
    def sample_weights(self) -> np.ndarray | None:
        """Return (len,) float64 sampling weights, or None when all samples count the same."""

    @abstractmethod
    def environment_config(self) -> Mapping[str, object] | None:
        """Return ``{type, params}`` of the environment the data came from, or None."""

    def tasks(self) -> Mapping[str, str]:
        """Return the tasks that the data are of, as far as they say so, and where each is named."""
        return {}

    def task_indices(self) -> np.ndarray:
        """Return the different values of ``task`` among all samples; none without that key."""
        return np.empty(0, np.int64)

    def describe(self) -> str:
        """Return one line for the log: how much data, and where it is cached."""
        return f"{type(self).__name__}: {len(self)} samples"

    def to_device(self, device: torch.device) -> None:
        """Learn the training device before the first batch (for ``cache: device``)."""
        return


class Augmentation(ABC):
    """A random change of a training batch, on the device.

    All parameters of its constructor are ``params`` of the YAML.
    """

    @abstractmethod
    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the changed copy of ``batch``, drawing only from ``generator``."""


class Logger(ABC):
    """Where figures, pictures and videos of a run go. Only rank 0 has loggers.

    Its constructor is given ``save_dir``, the run's folder, and ``start_step``, behind which
    nothing counts that an earlier start wrote (None: all of it does), if it asks for them; its
    other parameters are ``params`` of the YAML.
    """

    @abstractmethod
    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record named figures at an optimizer step."""

    def log_image(self, step: int, name: str, image_hwc: np.ndarray) -> None:
        """Record a uint8 RGB picture (H, W, 3)."""
        return

    def log_video(self, step: int, name: str, path: Path) -> None:
        """Record a video that lies in an MP4 file."""
        return

    def close(self) -> None:
        """Flush and release what is open."""
        return
