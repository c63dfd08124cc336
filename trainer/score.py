"""A score for each episode of the data that a scorer was trained on, as a JSON file.

python trainer/score.py --checkpoint runs/mutual_information_estimator/exp1
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from trainer.acting import load_policy
from trainer.build import build_dataset
from trainer.checkpoint import resolve_checkpoint
from trainer.cli import output_file, run_command
from trainer.config import load_config
from trainer.distributed import choose_device
from trainer.errors import ConfigError
from trainer.files import write_text_atomically
from trainer.interfaces import Batch, Dataset, Scorer
from trainer.progress import progress_bar
from trainer.run import CONFIG
from trainer.schema import ExperimentConfig


def main(arguments: Sequence[str]) -> int:
    """Score from the command line and return the exit code."""
    args = _parser().parse_args(arguments)
    checkpoint = resolve_checkpoint(args.checkpoint)
    device = choose_device(args.device)
    saved = load_policy(checkpoint, device)
    scorer = saved.policy
    if not isinstance(scorer, Scorer):
        raise ConfigError(
            f"{checkpoint.folder}: a {saved.config.policy.type} acts; expected one that scores "
            "episodes, such as mutual_information_estimator"
        )
    dataset = build_dataset(load_config(checkpoint.folder / CONFIG, ExperimentConfig), saved.root)
    identities = dataset.episode_identities()
    dataset.to_device(device)
    batches = _batches(dataset, saved.config.data.batch_size, device)
    scores = scorer.score_episodes(batches)
    record: Mapping[str, object] = {
        "checkpoint": str(checkpoint.folder),
        "weights_sha256": checkpoint.weights_sha256,
        "meaning": scorer.meaning,
        "episodes": [identities[e] | {"score": score} for e, score in scores.items()],
    }
    output = args.output or checkpoint.folder.parent / f"scores_{checkpoint.folder.name}.json"
    write_text_atomically(output, json.dumps(record, indent=1) + "\n")
    low, middle, high = np.quantile(list(scores.values()), [0, 0.5, 1])
    sys.stdout.write(
        f"{len(scores)} episodes score from {low:.3g} to {high:.3g}, median {middle:.3g}: "
        f"{scorer.meaning}\nwritten to {output}\n"
    )
    return 0


def _batches(dataset: Dataset, batch_size: int, device: torch.device) -> Iterator[Batch]:
    """Yield all samples, in order, on the device."""
    starts = range(0, len(dataset), batch_size)
    for start in progress_bar(
        starts, total=len(starts), description="scoring", unit="batch", leave=False
    ):
        rows = np.arange(start, min(start + batch_size, len(dataset)))
        yield {key: value.to(device) for key, value in dataset.__getitems__(rows).items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Score each episode of the data that a scorer was trained on.",
        epilog=(
            "example:\n"
            "  python trainer/score.py --checkpoint runs/mutual_information_estimator/exp1\n"
            "then, in another experiment, under data.dataset.params of dagger_rounds:\n"
            "  episode_scores: {file: runs/mutual_information_estimator/exp1/scores_epoch_20.json,"
            " keep: 0.7}\n"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        help="a checkpoint, a run (its newest one), or RUN/best",
    )
    parser.add_argument(
        "--output", type=output_file, metavar="FILE", help="where the scores go (JSON)"
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    return parser


if __name__ == "__main__":
    run_command(main)
