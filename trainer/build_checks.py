"""What is checked of an experiment before anything heavy starts."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from trainer.config import Experiment
from trainer.errors import ConfigError, nearest
from trainer.interfaces import Dataset, Policy, Scorer
from trainer.planner import executed_steps
from trainer.schema import ComponentSpec, PlanningConfig


def check_needs(policy: Policy, dataset: Dataset, experiment: Experiment) -> None:
    """Raise ConfigError when the policy learns from what the data do not have."""
    if not policy.needs:
        return
    given = dataset.__getitems__([0])
    missing = [key for key in policy.needs if key not in given]
    if missing:
        raise ConfigError(
            f"{experiment.at('data', 'dataset')}: this policy also learns from "
            f"{', '.join(missing)}, the data give {', '.join(sorted(given))}; record it, ask the "
            "dataset for it (depth: [camera]), or leave out the component that wants it"
        )


def check_evaluation(
    policy: Policy, environment: ComponentSpec | None, experiment: Experiment
) -> None:
    """Raise ConfigError when the policy is to be evaluated, but does not act or nobody says where.

    What is never evaluated in training needs no environment.
    """
    evaluation = experiment.config.evaluation
    if evaluation is None or evaluation.every is None:
        return
    if isinstance(policy, Scorer):
        raise ConfigError(
            f"{experiment.at('evaluation')}: a {experiment.config.policy.type} scores episodes and "
            "does not act; set evaluation: null (validation gives its loss)"
        )
    if environment is None:
        raise ConfigError(
            f"{experiment.at('evaluation', 'environment')}: from_data was asked for, but the data "
            "do not say which environment they came from; name it as {type: …, params: {…}}, or "
            "set evaluation: null"
        )


def check_planning(planning: PlanningConfig, chunk: int, where: str) -> None:
    """Raise ConfigError when chunks of this length cannot be executed as ``where`` says."""
    try:
        executed_steps(chunk, planning.execute_horizon, planning.temporal_ensembling)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def check_best(experiment: Experiment) -> None:
    """Raise ConfigError when the best checkpoint is chosen by what nothing measures."""
    config = experiment.config
    best = config.train.checkpoints.best
    measured = []
    if config.evaluation and config.evaluation.every:
        measured.append("evaluation/")
    if config.validation:
        measured.append("validation/")
    if best and not best.metric.startswith(tuple(measured)):
        expected = " or ".join(f"{kind}…" for kind in measured)
        raise ConfigError(
            f"{experiment.at('train', 'checkpoints', 'best')}: nothing measures {best.metric!r}; "
            + (
                f"expected {expected}"
                if measured
                else "set evaluation.every for evaluation/…, or validation for validation/…"
            )
        )


def check_optims(experiment: Experiment) -> None:
    """Raise ConfigError when a component that does not exist is to be changed or optimised."""
    model = experiment.config.model
    for section in ("component_optims", "component_build_args"):
        for name in getattr(model, section):
            if name not in model.component_config_paths:
                known = model.component_config_paths
                raise ConfigError(
                    f"{experiment.at('model', section, name)}: no component has this name"
                    f"{nearest(name, known)}; there are {', '.join(known) or 'none'}"
                )


def check_trainable(policy: Policy, experiment: Experiment) -> None:
    """Raise ConfigError when there is no weight that the optimizer may change."""
    optims = experiment.config.model.component_optims
    frozen = {name for name, override in optims.items() if override.freeze}
    learning = (c for name, c in policy.components.items() if name not in frozen)
    if not any(p.requires_grad for component in learning for p in component.parameters()):
        raise ConfigError(
            f"{experiment.at('model', 'component_optims')}: nothing is left to train: each "
            f"component is frozen ({', '.join(sorted(frozen))}) or has no weights that learn"
        )


def check_importable(plugins: Sequence[str], experiment: Experiment) -> None:
    """Raise ConfigError for an evaluation plugin that is not there; none is imported.

    Training ranks stay free of simulators.
    """
    for i, plugin in enumerate(plugins):
        is_file = plugin.endswith(".py") and (experiment.root / plugin).is_file()
        try:
            found = is_file or importlib.util.find_spec(plugin) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            raise ConfigError(
                f"{experiment.at('evaluation', 'plugins', i)}: there is no module or file "
                f"{plugin!r}"
            )
