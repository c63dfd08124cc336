"""A policy from its checkpoint alone, ready to act."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.build import build_policy
from trainer.checkpoint import Checkpoint
from trainer.config import load_config
from trainer.config_tree import parse_key
from trainer.errors import CheckpointError, ConfigError
from trainer.interfaces import Policy
from trainer.normalization import statistics_from_json
from trainer.registry import load_plugins
from trainer.run import CONFIG, NORMALIZATION, RESOLVED, LocatedSpec, Resolved
from trainer.schema import ComponentSpec, ExperimentConfig
from trainer.weights import load_components

_ENVIRONMENT = "evaluation.environment"


@dataclass(frozen=True)
class SavedPolicy:
    """A policy with its acting weights, and the experiment that it comes from."""

    checkpoint: Path
    policy: Policy
    config: ExperimentConfig
    environment: ComponentSpec | None
    root: Path
    at: Callable[..., str]
    """Where the environment's parameters are written, for messages."""


def load_policy(
    checkpoint: Checkpoint, device: torch.device, overrides: Sequence[str] = ()
) -> SavedPolicy:
    """Return the policy of a checkpoint, ready to act, built from the checkpoint alone.

    The data that it was trained on need not exist any more; its plugins must. ``overrides`` are
    ``--set`` values below ``evaluation`` and ``policy.params``: they vary how it acts.

    Raises:
        ConfigError: An override is wrong, of another section, or changes what the weights fit.
    """
    _refuse_what_is_trained(overrides)
    # Where it acts is recorded with the data, whatever the experiment says of it.
    overrides = [each for each in overrides if each != f"{_ENVIRONMENT}=from_data"]
    elsewhere = [each for each in overrides if each.startswith(_ENVIRONMENT)]
    experiment = load_config(
        checkpoint.folder / CONFIG,
        ExperimentConfig,
        [each for each in overrides if each not in elsewhere],
        implicit={"evaluation.every": None},
    )
    resolved = load_config(
        checkpoint.folder / RESOLVED,
        Resolved,
        [each.removeprefix("evaluation.") for each in elsewhere],
    )
    root = Path(resolved.config.root)
    root = root if root.is_dir() else Path.cwd()  # moved to another machine
    load_plugins(experiment.config.plugins, root)
    specs = {
        name: LocatedSpec(resolved.config.spec(name), resolved.under("components", name))
        for name in resolved.config.components
    }
    statistics = statistics_from_json(checkpoint.read_text(NORMALIZATION))
    policy = build_policy(experiment, specs, statistics, None)
    try:
        load_components(policy, checkpoint)
    except CheckpointError as error:
        if not overrides:
            raise
        raise ConfigError(
            f"--set {', '.join(overrides)}: the weights of {checkpoint.folder} do not fit a policy "
            "with these values; only how it acts can be varied, the rest has to be trained anew "
            f"({error})"
        ) from error
    policy.requires_grad_(False)
    policy.eval()
    return SavedPolicy(
        checkpoint.folder,
        policy.to(device),
        experiment.config,
        resolved.config.environment,
        root,
        resolved.under("environment"),
    )


def _refuse_what_is_trained(overrides: Sequence[str]) -> None:
    """Raise ConfigError for an override that is not about how a policy acts."""
    for override in overrides:
        key = override.partition("=")[0]
        section = parse_key(key)
        if section[:1] != ("evaluation",) and section[:2] != ("policy", "params"):
            raise ConfigError(
                f"--set {key}: of a trained policy only evaluation.… and policy.params.… can be "
                "set: they say how it acts; the rest is in its weights, train a new expN for it"
            )
        if section == ("evaluation",):
            raise ConfigError(
                "--set evaluation: set its keys one by one, such as evaluation.episodes=100 and "
                f"{_ENVIRONMENT}={{type: …}}"
            )
