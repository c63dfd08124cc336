"""DART: the teacher drives under the noise that a student would make (Laskey et al. 2017).

    python -m data_collection.dart --checkpoint runs/… --round data/…/round_000

prints ``noise_covariance`` and ``noise_student`` for a driver of a collect.yaml. In a dagger.yaml
``phase1.sources[].dart`` and ``phase2.dart_scale`` do it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from data_collection.label_error import label_errors
from trainer.acting import load_policy
from trainer.checkpoint import Checkpoint, resolve_checkpoint
from trainer.cli import run_command
from trainer.distributed import choose_device


def dart_covariance(
    checkpoint: Checkpoint, round_folder: Path, scale: float = 1.0
) -> list[list[float]]:
    """Return (A, A) the second moment of the student's errors in a round's states, times ``scale``.

    Laskey et al. (2017), the closed form for Gaussian noise: under it the teacher visits what the
    student will. In states that the student has learnt from its errors are underestimated;
    ``scale`` makes up for that.

    Raises:
        DataError: The round is damaged, or has other shapes than the student wants.
    """
    errors_na = label_errors(load_policy(checkpoint, choose_device("cpu")), round_folder)
    return (scale * errors_na.T @ errors_na / len(errors_na)).tolist()


def main(arguments: Sequence[str]) -> int:
    """Print the covariance and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m data_collection.dart",
        description="Print the noise that a student's errors amount to.",
        epilog="example: python -m data_collection.dart --checkpoint "
        "runs/naive_flow_matching_policy/exp3 --round data/pick_place/exp1/round_000",
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="an epoch's folder or a run's"
    )
    parser.add_argument("--round", type=Path, required=True, help="a sealed round")
    parser.add_argument("--scale", type=float, default=1.0, help="of the covariance (default: 1)")
    args = parser.parse_args(arguments)
    student = resolve_checkpoint(args.checkpoint)
    covariance = dart_covariance(student, args.round, args.scale)
    sys.stdout.write(
        f"noise_covariance: {json.dumps(covariance)}\nnoise_student: {student.weights_sha256}\n"
    )
    return 0


if __name__ == "__main__":
    run_command(main)
