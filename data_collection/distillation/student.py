"""The student's part of a ``distillation.yaml``, as the trainer knows it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from data_collection.distillation.lessons import LessonPlan
from data_collection.distillation.schema import DistillConfig
from trainer.checkpoint import newest_checkpoint, resolve_checkpoint
from trainer.config import Experiment, Loaded, config_differences, load_config
from trainer.errors import ConfigError
from trainer.interfaces import EPISODE_START
from trainer.registry import load_plugins, policies
from trainer.schema import ExperimentConfig

_log = logging.getLogger(__name__)

DISTILLATION = "distillation.yaml"
"""The configuration, as a checkpoint holds it."""
_MAY_DIFFER = ("iterations", "logging", "evaluation", "train")
"""What may be another value when a run is resumed; the trainer itself looks at ``train``."""
_SHARED = ("plugins", "seed", "interface", "model", "policy", "normalization", "logging")
_TRAIN_ONLY = ("save_every", "log_every")
"""Counted in iterations here, in optimizer steps there."""


def load_distillation(path: Path, overrides: Sequence[str] = ()) -> Loaded[DistillConfig]:
    """Return the validated configuration; ``save_dir`` defaults to ``runs/<task>/expN``."""
    return load_config(
        path, DistillConfig, overrides, implicit={"train.save_dir": "runs/${experiment}"}
    )


def plan_lessons(loaded: Loaded[DistillConfig]) -> LessonPlan:
    """Return how the student of a configuration learns, which depends on whether it has a memory.

    Raises:
        ConfigError: There is no such policy, or it plans several actions at once.
    """
    config = loaded.config
    load_plugins(config.plugins, loaded.root, loaded.under("plugins"))
    try:
        policy = policies.get(config.policy.type)
    except ConfigError as error:
        raise ConfigError(f"{loaded.at('policy', 'type')}: {error}") from error
    if config.interface.chunk != 1:
        raise ConfigError(
            f"{loaded.at('interface', 'chunk')}: expected 1, got {config.interface.chunk}: "
            "on-line, the teacher labels one action for each state that is visited"
        )
    has_memory = EPISODE_START in policy.needs
    if has_memory and config.interface.obs_steps != 1:
        raise ConfigError(
            f"{loaded.at('interface', 'obs_steps')}: expected 1, got "
            f"{config.interface.obs_steps}: {config.policy.type} remembers what it saw before"
        )
    asked = "gradient_length" in config.algorithm.model_fields_set
    if asked and config.algorithm.gradient_length > 1 and not has_memory:
        _log.warning(
            "%s: %s has no memory, so a gradient_length of %d changes nothing",
            loaded.at("algorithm", "gradient_length"),
            config.policy.type,
            config.algorithm.gradient_length,
        )
    return LessonPlan(
        config.algorithm,
        config.num_envs,
        config.steps_per_iteration,
        config.interface.obs_steps,
        has_memory,
    )


def student_experiment(loaded: Loaded[DistillConfig], plan: LessonPlan) -> Experiment:
    """Return the experiment whose loop trains the student; its checkpoints hold its configuration.

    The marks are those of the distillation's file, whose sections have the same names.
    """
    config = loaded.config
    steps = sum(plan.batches(iteration) for iteration in range(config.iterations))
    train = config.train.model_dump(mode="json", exclude=set(_TRAIN_ONLY))
    tree = {name: loaded.resolved[name] for name in _SHARED} | {
        "data": {"dataset": {"type": "online"}, "batch_size": plan.batch_size},
        # Where every iteration takes as many steps, an epoch is an iteration.
        "train": train | {"steps": steps, "save_every": plan.batches(0)},
    }
    student = ExperimentConfig.model_validate_json(json.dumps(tree), strict=True)
    return Loaded(student, student.model_dump(mode="json"), loaded.root, loaded.marks)


def refuse_differences(loaded: Loaded[DistillConfig], resume: str) -> None:
    """Raise ConfigError when the checkpoint to resume was made with another configuration.

    Args:
        loaded: What is to be run.
        resume: As for ``trainer.resume.started_run``, which verifies the checkpoint itself.
    """
    if resume == "never":
        return
    save_dir = loaded.root / Path(loaded.config.train.save_dir).expanduser()
    if resume == "auto":
        chosen = newest_checkpoint(save_dir)
    else:
        chosen = resolve_checkpoint(Path(resume).expanduser())
    if chosen is None or not (chosen.folder / DISTILLATION).exists():
        return
    folder = chosen.folder
    saved = load_config(folder / DISTILLATION, DistillConfig).resolved
    differences = config_differences(saved, loaded.resolved, _MAY_DIFFER)
    if differences:
        raise ConfigError(
            f"the configuration is not the one that {folder} was made with:\n  "
            + "\n  ".join(differences)
            + "\nput these values back, or choose another folder with --set train.save_dir=…"
        )
