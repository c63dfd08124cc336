"""The file of an evaluation: the figures, and everything that decided them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from trainer.checkpoint import Checkpoint
from trainer.config import config_differences
from trainer.errors import UserError
from trainer.evaluation import Evaluation
from trainer.files import write_text_atomically
from trainer.schema import ComponentSpec, EvaluationConfig

_DECIDES = {
    "episodes",
    "seed",
    "execute_horizon",
    "temporal_ensembling",
    "max_steps",
    "stop_on_success",
    "inference_batch",
}
"""What of ``evaluation`` decides the figures."""


def settings_of(
    config: EvaluationConfig,
    environment: ComponentSpec,
    policy: ComponentSpec,
    checkpoint: Checkpoint,
    device: str,
) -> dict[str, object]:
    """Return everything that decides the figures: equal settings give equal figures."""
    return {
        **config.model_dump(mode="json", include=_DECIDES),
        "environment": environment.model_dump(mode="json"),
        "policy": policy.model_dump(mode="json"),
        "weights_sha256": checkpoint.weights_sha256,
        "device": device,
    }


def differing_settings(path: Path, settings: Mapping[str, object]) -> list[str]:
    """Return a line for each setting with which the record at ``path``, if any, was not made."""
    if not path.exists():
        return []
    try:
        saved = json.loads(path.read_text())
        return config_differences({k: saved[k] for k in settings if k in saved}, settings)
    except (ValueError, TypeError):
        return ["it is no evaluation"]


def refuse_other(path: Path, settings: Mapping[str, object]) -> None:
    """Raise UserError when the file that was asked for holds another evaluation."""
    if differences := differing_settings(path, settings):
        raise UserError(
            f"--output {path} exists, and was made with other settings:\n  "
            + "\n  ".join(differences)
            + "\nname another file, or delete this one"
        )


def unused(path: Path, settings: Mapping[str, object]) -> Path:
    """Return ``path``, or ``{stem}_2``, ``_3``, … where other settings have taken the name."""
    candidate, number = path, 1
    while differing_settings(candidate, settings):
        number += 1
        candidate = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return candidate


def write_record(
    path: Path, evaluation: Evaluation, settings: Mapping[str, object], checkpoint: Checkpoint
) -> None:
    """Write the figures and how they were measured, atomically."""
    record = {**asdict(evaluation), **settings, "checkpoint": str(checkpoint.folder)}
    write_text_atomically(path, json.dumps(record, indent=1) + "\n")
