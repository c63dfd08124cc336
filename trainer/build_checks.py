"""What is checked of an experiment before anything heavy starts."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Sequence

from trainer.config import Experiment
from trainer.errors import ConfigError, DataError, nearest
from trainer.evaluation import Evaluation
from trainer.interfaces import TASK, Dataset, Policy, Scorer, TaskAware
from trainer.planner import executed_steps
from trainer.registry import UnknownComponentError, policies
from trainer.schema import ComponentSpec, PlanningConfig
from trainer.validate import validation_figures

log = logging.getLogger(__name__)


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


def check_tasks(policy: Policy, dataset: Dataset, experiment: Experiment) -> None:
    """Look at which tasks the data are of, and which of them the policy can tell apart.

    Several tasks of one import are only warned of: their names may say the same in other words.

    Raises:
        DataError: It does not know one of them, or is not told which of the environments' it is.
    """
    at, indices = experiment.at("data", "dataset"), dataset.task_indices().tolist()
    for name, part in policy.components.items():
        if isinstance(part, TaskAware) and not set(indices) <= set(range(part.tasks)):
            raise DataError(
                f"{at}: the data are of the tasks {', '.join(map(str, indices))}, but {name} knows "
                f"{part.tasks}, which are 0 to {part.tasks - 1}; give it more, or number the tasks "
                "anew"
            )
    if TASK in policy.needs:
        return
    if len(tasks := dataset.tasks()) > 1:
        found = ", ".join(f"{where} is of {task}" for task, where in tasks.items())
        raise DataError(
            f"{at}: rounds of several tasks: {found}; name those of one task, or let the policy "
            "know which it is: with the component task_embedding, on rounds that record the key "
            "task"
        )
    if len(indices) > 1:
        log.warning(
            "the data are of the tasks %s, and nothing tells the policy which it is: the component "
            "task_embedding would, or train on the episodes of one of them",
            ", ".join(map(str, indices)),
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
    """Raise ConfigError when nothing measures what the best checkpoint is chosen by.

    Neither may it be a figure that no epoch has, or that of the saved ones only the last has.
    """
    config = experiment.config
    best = config.train.checkpoints.best
    if best is None:
        return
    at = experiment.at("train", "checkpoints", "best")
    measured: dict[str, int] = {}
    known: list[str] = []
    if config.evaluation and config.evaluation.every:
        measured["evaluation"] = config.evaluation.every
        known += Evaluation.figure_names()
    if config.validation:
        measured["validation"] = config.validation.every
        known += validation_figures(config.interface, acts=not _scores(config.policy))
    kind = best.metric.partition("/")[0]
    if best.metric not in known:
        expected = " or ".join(f"{each}/…" for each in measured)
        known = [] if kind in ("evaluation", "validation") and kind not in measured else known
        raise ConfigError(
            f"{at}: nothing measures {best.metric!r}{nearest(best.metric, known)}; "
            + (
                f"expected {expected}"
                if measured
                else "set evaluation.every for evaluation/…, or validation for validation/…"
            )
        )
    train, every = config.train, measured[kind]
    # In step mode save_every says how long an epoch is, and each is saved.
    saved = train.save_every if train.epochs else 1
    epochs = train.epochs or -(-(train.steps or 0) // train.save_every)
    if saved < epochs <= math.lcm(saved, every):
        raise ConfigError(
            f"{at}: of the saved epochs only the last one would be measured: the run has "
            f"{epochs} epochs, a checkpoint every {saved}, and {best.metric} every {every}; set "
            f"{kind}.every to {saved}{' or a divisor of it' if saved > 1 else ''}"
        )


def _scores(policy: ComponentSpec) -> bool:
    """Return whether a policy scores episodes; one that is not loaded yet is taken to act."""
    try:
        return issubclass(policies.get(policy.type), Scorer)
    except UnknownComponentError:
        return False


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
