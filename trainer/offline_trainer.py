"""Train the experiment in a YAML.

python trainer/offline_trainer.py --train_config experiment_training/…/expN/x.yaml
torchrun --nproc_per_node=4 trainer/offline_trainer.py --train_config …
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from trainer.cli import run_command
from trainer.errors import ConfigError
from trainer.sweep import add_sweep_options, read_sweep


def main(arguments: Sequence[str]) -> int:
    """Train an experiment, or the lines of a sweep, and return the exit code.

    Raises:
        Interrupted: It was asked to stop, and has saved what it had.
    """
    args = _parser().parse_args(arguments)
    # Imported after parsing, so that --help and a misspelt option answer at once.
    from trainer.build import load_experiment
    from trainer.distributed import join_ranks
    from trainer.dry_run import dry_run
    from trainer.guard import diverging_is_noted
    from trainer.resume import started_run

    # All of them, before the first one takes its hours.
    experiments = [
        load_experiment(args.train_config, [*args.set, *overrides])
        for overrides in read_sweep(args.sweep, args.index, "train.save_dir")
    ]
    devices = {experiment.config.train.device for experiment in experiments}
    if len(devices) > 1:
        raise ConfigError(f"--sweep: expected one train.device, got {', '.join(sorted(devices))}")
    with join_ranks(devices.pop()) as ranks:
        for experiment in experiments:
            if args.dry_run:
                dry_run(experiment, ranks.device)
                continue
            with (
                started_run(experiment, ranks, args.resume) as loop,
                diverging_is_noted(loop.save_dir, is_main=ranks.is_main),
            ):
                loop.train()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train the experiment in a YAML; start the same command again to resume.",
        epilog=(
            "examples:\n"
            "  python trainer/offline_trainer.py --train_config "
            "experiment_training/imitation_learning/naive_flow_matching_policy/exp3/"
            "naive_flow_matching_policy.yaml\n"
            "  … --set train.optimizer.params.lr=3e-4 --set train.save_dir=runs/lr_3e-4\n"
            "  … --sweep seeds.jsonl   one run a line, such as "
            '{"seed": 1, "train.save_dir": "runs/seed_1"}\n'
            "  … --dry_run          check everything, print parameters and shapes, train nothing\n"
            "  torchrun --nproc_per_node=4 trainer/offline_trainer.py --train_config …\n"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--train_config", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one value"
    )
    add_sweep_options(parser)
    parser.add_argument(
        "--resume",
        default="auto",
        metavar="auto|never|DIR",
        help="auto: go on from the newest checkpoint in save_dir, if any; never: refuse when "
        "there is one; DIR: go on from this checkpoint (default: auto)",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="validate and build everything, then stop"
    )
    return parser


if __name__ == "__main__":
    run_command(main, resumes=True)
