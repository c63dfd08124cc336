"""A policy from its checkpoint alone, ready to act."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.build import CONFIG, NORMALIZATION, RESOLVED, LocatedSpec, Resolved, build_policy
from trainer.checkpoint import Checkpoint
from trainer.config import load_config
from trainer.interfaces import Policy
from trainer.normalization import statistics_from_json
from trainer.registry import load_plugins
from trainer.schema import ComponentSpec, ExperimentConfig
from trainer.weights import load_components


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

    The data that it was trained on need not exist any more; its plugins must.

    Args:
        checkpoint: Where its weights and its configuration lie.
        device: Where it acts.
        overrides: Changes of the experiment as ``--set`` makes them, such as
            ``policy.params.flow.num_steps=2``.
    """
    experiment = load_config(checkpoint.folder / CONFIG, ExperimentConfig, overrides)
    resolved = load_config(checkpoint.folder / RESOLVED, Resolved)
    root = Path(resolved.config.root)
    root = root if root.is_dir() else Path.cwd()  # moved to another machine
    load_plugins(experiment.config.plugins, root)
    specs = {
        name: LocatedSpec(resolved.config.spec(name), resolved.under("components", name))
        for name in resolved.config.components
    }
    statistics = statistics_from_json(checkpoint.read_text(NORMALIZATION))
    policy = build_policy(experiment, specs, statistics, None)
    load_components(policy, checkpoint)
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
