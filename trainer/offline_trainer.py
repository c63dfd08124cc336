"""Train the experiment in a YAML.

python trainer/offline_trainer.py --train_config experiment_training/…/expN/x.yaml
torchrun --nproc_per_node=4 trainer/offline_trainer.py --train_config …
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.cli import run_command
from trainer.errors import ConfigError, UserError
from trainer.sweep import add_sweep_options, read_sweep

if TYPE_CHECKING:
    from trainer.config import Experiment
    from trainer.distributed import Ranks

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str], *, more_follows: bool = False) -> int:
    """Train an experiment, or the lines of a sweep, and return the exit code.

    Args:
        arguments: Of the command line.
        more_follows: Whether the caller goes on with other work, from which a signal that comes
            at the very end of training must keep it.

    Raises:
        Interrupted: It was asked to stop, and has saved what it had.
    """
    args = _parser().parse_args(arguments)
    # Imported after parsing, so that --help and a misspelt option answer at once.
    from trainer.build import check_components, load_experiment
    from trainer.distributed import join_ranks
    from trainer.dry_run import dry_run

    # All of them, before the first one takes its hours.
    experiments = [
        load_experiment(args.train_config, [*args.set, *overrides])
        for overrides in read_sweep(args.sweep, args.index, "train.save_dir")
    ]
    devices = {experiment.config.train.device for experiment in experiments}
    if len(devices) > 1:
        raise ConfigError(f"--sweep: expected one train.device, got {', '.join(sorted(devices))}")
    for experiment in experiments[1:]:  # the first one is about to be built
        check_components(experiment)
    with join_ranks(devices.pop()) as ranks:
        if args.dry_run:
            for experiment in experiments:
                dry_run(experiment, ranks.device)
        else:
            _train(experiments, ranks, args.resume, more_follows=more_follows)
    return 0


def _train(
    experiments: Sequence[Experiment], ranks: Ranks, resume: str, *, more_follows: bool
) -> None:
    """Train one experiment after the other; one that diverges does not keep the next from it."""
    from trainer.guard import TrainingDivergedError, diverging_is_noted
    from trainer.resume import started_run
    from trainer.stopping import Interrupted

    diverged: list[TrainingDivergedError] = []
    for number, experiment in enumerate(experiments, start=1):
        try:
            with (
                started_run(experiment, ranks, resume) as loop,
                diverging_is_noted(loop.save_dir, is_main=ranks.is_main),
            ):
                loop.train()
        except TrainingDivergedError as error:
            diverged.append(error)
            if number < len(experiments):
                _log.error("run %d of %d: %s", number, len(experiments), error)
            continue
        if loop.stop_signal and (more_follows or number < len(experiments)):
            raise Interrupted(
                loop.stop_signal,
                f"stopped after run {number} of {len(experiments)}; start the same command again "
                "to go on",
            )
    if diverged:
        raise UserError("\n".join(str(error) for error in diverged))


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
