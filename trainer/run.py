"""A training run: all that it is made of, and what a checkpoint must say of it to be acted with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import Field

from trainer.config import Experiment
from trainer.interfaces import (
    Augmentation,
    Dataset,
    Interface,
    OptimizerPlugin,
    Policy,
    Pretrained,
)
from trainer.normalization import AffineNormalizer, statistics_to_json
from trainer.schema import ComponentSpec, ExperimentConfig, PlainValue, Strict
from trainer.yaml_file import to_yaml

CONFIG, RESOLVED, NORMALIZATION = "config.yaml", "resolved.yaml", "normalization.json"


class Resolved(Strict):
    """What ``resolved.yaml`` holds: all that acting needs beside ``config.yaml``."""

    components: dict[str, ComponentSpec]
    architectures: dict[str, dict[str, PlainValue]] = Field(default_factory=dict)
    """Further parameters of components that were built from what lies elsewhere."""
    environment: ComponentSpec | None
    root: str

    def spec(self, name: str) -> ComponentSpec:
        """Return how a component is built from the checkpoint alone."""
        written = self.components[name]
        params = written.params | self.architectures.get(name, {})
        return written.model_copy(update={"params": params})


@dataclass(frozen=True)
class LocatedSpec:
    """A component's spec, and the place of its parameters for messages."""

    spec: ComponentSpec
    at: Callable[..., str]


@dataclass(frozen=True)
class Run:
    """Everything a training run is made of, on the CPU and ready to train."""

    experiment: Experiment
    model_specs: dict[str, LocatedSpec]
    environment: ComponentSpec | None
    policy: Policy
    dataset: Dataset
    training_samples: np.ndarray
    validation_samples: np.ndarray
    training_weights: np.ndarray | None
    augmentations: list[Augmentation]
    recipe: OptimizerPlugin

    @property
    def config(self) -> ExperimentConfig:
        """The validated experiment."""
        return self.experiment.config

    @property
    def root(self) -> Path:
        """The project root, to which paths in YAMLs are relative."""
        return self.experiment.root

    @property
    def interface(self) -> Interface:
        """What the policy sees and does."""
        return self.config.interface.to_interface()

    @property
    def save_dir(self) -> Path:
        """Where checkpoints and logs of this run go."""
        return self.root / Path(self.config.train.save_dir).expanduser()

    @cached_property
    def data_sha256(self) -> str:
        """The hash of what is trained on: episodes, which samples of them, how often each."""
        digest = hashlib.sha256(self.dataset.identity().encode())
        digest.update(self.training_samples.tobytes())
        if self.training_weights is not None:
            digest.update(self.training_weights.tobytes())
        return digest.hexdigest()

    def resolved(self) -> Resolved:
        """Return what acting needs to know beside the experiment."""
        return Resolved(
            components={name: located.spec for name, located in self.model_specs.items()},
            architectures={
                name: found
                for name, component in self.policy.components.items()
                if isinstance(component, Pretrained) and (found := component.architecture())
            },
            environment=self.environment,
            root=str(self.root),
        )

    def checkpoint_texts(self) -> dict[str, str]:
        """Return the text files of a checkpoint, by name."""
        normalizer = self.policy.normalizer
        statistics = normalizer.statistics if isinstance(normalizer, AffineNormalizer) else {}
        return {
            CONFIG: to_yaml(self.experiment.resolved),
            RESOLVED: to_yaml(self.resolved().model_dump(mode="json")),
            NORMALIZATION: statistics_to_json(statistics),
        }
