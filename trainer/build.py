"""An experiment's configuration becomes policy, data, optimizer recipe and loggers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trainer.build_checks import (
    check_best,
    check_evaluation,
    check_importable,
    check_needs,
    check_optims,
    check_planning,
    check_tasks,
    check_trainable,
)
from trainer.checkpoint import Checkpoint, resolve_checkpoint
from trainer.config import Experiment, load_component_config, load_config
from trainer.config_tree import lookup
from trainer.errors import CheckpointError, ConfigError
from trainer.holdout import held_out_samples
from trainer.interfaces import (
    Dataset,
    FeatureStatistics,
    Logger,
    OptimizerPlugin,
    Policy,
    Pretrained,
)
from trainer.normalization import (
    AffineNormalizer,
    compute_statistics,
    statistics_from_json,
    warn_when_clipped,
)
from trainer.registry import (
    Registry,
    action_transforms,
    augmentations,
    datasets,
    load_plugins,
    loggers,
    losses,
    models,
    optimizers,
    policies,
)
from trainer.run import CONFIG, NORMALIZATION, LocatedSpec, Run
from trainer.schema import ComponentSpec, ExperimentConfig
from trainer.seeding import stream_seed
from trainer.signature import build, check_spec
from trainer.weights import load_components
from trainer.yaml_file import from_yaml

log = logging.getLogger(__name__)

BUILTIN_PLUGINS = ("trainer.loggers.jsonl", "trainer.loggers.tensorboard")

_UNITS_DEPEND_ON = (
    ("data", "action_transform"),
    ("normalization", "state"),
    ("normalization", "action"),
    ("normalization", "std_floor"),
)
"""Beside the statistics: what decides in which units a policy learns."""


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Return the validated experiment; ``save_dir`` defaults to ``runs/<policy>/expN``."""
    return load_config(
        path, ExperimentConfig, overrides, implicit={"train.save_dir": "runs/${experiment}"}
    )


def build_run(
    experiment: Experiment,
    statistics: Mapping[str, FeatureStatistics] | None = None,
    dataset: Dataset | None = None,
) -> Run:
    """Return the run of an experiment, checked against its data.

    Args:
        experiment: What to build.
        statistics: Those of the checkpoint that the run resumes from; None to compute them, or to
            take them from ``train.load_dir``.
        dataset: Takes the place of the experiment's own data.

    Raises:
        ConfigError: an unknown component or parameter, or sizes that do not fit.
        DataError: missing, damaged or unfitting data.
        CheckpointError: ``train.load_dir`` does not fit the model.
    """
    config = experiment.config
    has_own_data = dataset is None
    check_components(experiment, own_data=has_own_data)
    check_importable(config.evaluation.plugins if config.evaluation else [], experiment)
    if config.evaluation:
        check_planning(config.evaluation, config.interface.chunk, experiment.at("evaluation"))
    recipe = _recipe(experiment)
    specs = _model_specs(experiment)
    check_optims(experiment)
    if dataset is None:
        check_best(experiment)
        dataset = build_dataset(experiment, experiment.root)
    resuming = statistics is not None
    start = None if resuming else _warm_start(experiment)
    if statistics is None and start and config.normalization.on_warm_start == "keep":
        _check_kept_statistics(experiment, start)
        statistics = statistics_from_json(start.read_text(NORMALIZATION))
    policy = build_policy(experiment, specs, statistics, dataset)
    check_needs(policy, dataset, experiment)
    check_tasks(policy, dataset, experiment)
    check_trainable(policy, experiment)
    if not resuming:
        _load_pretrained(policy, specs)
    if start:
        load_components(policy, start, config.train.load_missing, config.train.load_surplus)
    if not resuming and isinstance(policy.normalizer, AffineNormalizer):
        warn_when_clipped(policy.normalizer, dataset)
    environment = _environment(experiment, dataset)
    held_out = np.zeros(len(dataset), bool)
    if has_own_data:
        check_evaluation(policy, environment, experiment)
        held_out = _held_out(dataset, experiment)
    weights = dataset.sample_weights()
    return Run(
        experiment=experiment,
        model_specs=specs,
        environment=environment,
        policy=policy,
        dataset=dataset,
        training_samples=np.flatnonzero(~held_out),
        validation_samples=np.flatnonzero(held_out),
        training_weights=None if weights is None else weights[~held_out],
        augmentations=[
            build(augmentations, spec, experiment.under("data", "augmentations", i))
            for i, spec in enumerate(config.data.augmentations)
        ],
        recipe=recipe,
    )


def check_components(experiment: Experiment, *, own_data: bool = True) -> None:
    """Look at the names and ``params`` of all components, without building any.

    Args:
        experiment: What they belong to.
        own_data: Whether its data are among them, or others take their place.

    Raises:
        ConfigError: An unknown component or parameter.
    """
    config = experiment.config
    load_plugins(BUILTIN_PLUGINS, experiment.root)
    load_plugins(config.plugins, experiment.root, experiment.under("plugins"))
    specs: list[tuple[Registry, ComponentSpec, Callable[..., str]]] = [
        (
            action_transforms,
            config.data.action_transform,
            experiment.under("data", "action_transform"),
        ),
        (policies, config.policy, experiment.under("policy")),
        (losses, config.train.loss, experiment.under("train", "loss")),
        (optimizers, config.train.optimizer, experiment.under("train", "optimizer")),
    ]
    if own_data:
        specs.append((datasets, config.data.dataset, experiment.under("data", "dataset")))
    for i, spec in enumerate(config.data.augmentations):
        specs.append((augmentations, spec, experiment.under("data", "augmentations", i)))
    for i, spec in enumerate(config.logging):
        specs.append((loggers, spec, experiment.under("logging", i)))
    for located in _model_specs(experiment).values():
        specs.append((models, located.spec, located.at))
    for registry, spec, at in specs:
        check_spec(registry, spec, at, dict.fromkeys(registry.supplied))


def build_dataset(experiment: Experiment, root: Path) -> Dataset:
    """Return the experiment's data; relative paths in them start from ``root``."""
    config = experiment.config
    supplied = {"interface": config.interface.to_interface(), "root": root}
    return build(datasets, config.data.dataset, experiment.under("data", "dataset"), supplied)


def build_policy(
    experiment: Experiment,
    specs: Mapping[str, LocatedSpec],
    statistics: Mapping[str, FeatureStatistics] | None,
    dataset: Dataset | None,
) -> Policy:
    """Return the policy with freshly initialised weights and its normaliser.

    The initial weights follow from the seed alone. ``dataset`` gives the statistics where none are
    passed; one of the two is needed.
    """
    config = experiment.config
    transform = build(
        action_transforms,
        config.data.action_transform,
        experiment.under("data", "action_transform"),
    )
    if statistics is None:
        if dataset is None:
            raise ConfigError("a policy needs statistics or a dataset to compute them from")
        statistics = compute_statistics(dataset, transform)
    loss = build(losses, config.train.loss, experiment.under("train", "loss"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(config.seed, "initial_weights"))
        components = nn.ModuleDict(
            {
                name: build(models, located.spec, located.at, {"root": experiment.root})
                for name, located in specs.items()
            }
        )
        policy = build(
            policies,
            config.policy,
            experiment.under("policy"),
            {
                "components": components,
                "interface": config.interface.to_interface(),
                "loss": loss,
            },
        )
    policy.normalizer = AffineNormalizer(statistics, config.normalization, transform)
    return policy


def build_loggers(run: Run, start_step: int | None) -> list[Logger]:
    """Return the run's loggers, opened to go on after ``start_step``; JSON lines come first."""
    supplied = {"save_dir": run.save_dir, "start_step": start_step}
    run.save_dir.mkdir(parents=True, exist_ok=True)
    specs = [ComponentSpec(type="jsonl"), *run.config.logging]
    return [
        build(loggers, spec, run.experiment.under("logging", i - 1), supplied)
        for i, spec in enumerate(specs)
    ]


def _recipe(experiment: Experiment) -> OptimizerPlugin:
    train = experiment.config.train
    recipe = build(optimizers, train.optimizer, experiment.under("train", "optimizer"))
    if recipe.averages_weights and train.ema_decay is not None:
        raise ConfigError(
            f"{experiment.at('train', 'ema_decay')}: {train.optimizer.type} averages the "
            "weights itself; remove ema_decay or choose another optimizer"
        )
    return recipe


def _model_specs(experiment: Experiment) -> dict[str, LocatedSpec]:
    paths = experiment.config.model.component_config_paths
    loaded = {n: load_component_config(experiment, n, path) for n, path in paths.items()}
    return {name: LocatedSpec(each.config, each.under()) for name, each in loaded.items()}


def _held_out(dataset: Dataset, experiment: Experiment) -> np.ndarray:
    """Return which samples are for validation (len,) bool."""
    validation, seed = experiment.config.validation, experiment.config.seed
    if validation is None:
        return np.zeros(len(dataset), bool)
    return held_out_samples(
        dataset.episode_of_sample(),
        validation.fraction,
        stream_seed(seed, "validation_split"),
        experiment.at("validation", "fraction"),
    )


def _warm_start(experiment: Experiment) -> Checkpoint | None:
    load_dir = experiment.config.train.load_dir
    if load_dir is None:
        return None
    try:
        return resolve_checkpoint(experiment.root / Path(load_dir).expanduser())
    except CheckpointError as error:
        raise CheckpointError(f"{experiment.at('train', 'load_dir')}: {error}") from error


def _check_kept_statistics(experiment: Experiment, start: Checkpoint) -> None:
    """Raise ConfigError where those of a checkpoint would give its weights other units now."""
    saved = from_yaml(start.read_text(CONFIG))
    for key in _UNITS_DEPEND_ON:
        before, now = lookup(saved, key), lookup(experiment.resolved, key)
        if before != now:
            raise ConfigError(
                f"{experiment.at(*key)}: {start.folder} was trained with {before}, this is {now}: "
                "its statistics do not fit; set normalization.on_warm_start: recompute, or put "
                "the old value back"
            )


def _load_pretrained(policy: Policy, specs: Mapping[str, LocatedSpec]) -> None:
    for name, component in policy.components.items():
        if isinstance(component, Pretrained):
            try:
                component.load_pretrained()
            except ConfigError as error:
                raise ConfigError(f"{specs[name].at('params')}: {error}") from error


def _environment(experiment: Experiment, dataset: Dataset) -> ComponentSpec | None:
    evaluation = experiment.config.evaluation
    if evaluation and isinstance(evaluation.environment, ComponentSpec):
        return evaluation.environment
    recorded = dataset.environment_config()
    return None if recorded is None else ComponentSpec.model_validate(dict(recorded))
