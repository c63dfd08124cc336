"""What runs logged of their training, as figures and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

Curve = list[tuple[int, float]]
"""Optimizer steps, and the loss of the velocity over those before each."""


def metrics_of(run: Path) -> list[Mapping[str, float]]:
    """Return what the run logged of its training, in order."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "train/loss" in line]


def curve_of(run: Path) -> Curve:
    """Return the loss curve of a run; where a policy has other losses too, the velocity's."""
    return [
        (int(line["step"]), line.get("train/velocity", line["train/loss"]))
        for line in metrics_of(run)
    ]


def plot(curves: Mapping[str, Curve], file: Path) -> None:
    """Draw the loss curves."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, curve in curves.items():
        axes.plot(*zip(*curve, strict=True), label=name, linewidth=1)
    axes.set(xlabel="optimizer step", ylabel="loss of the velocity", yscale="log")
    axes.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
