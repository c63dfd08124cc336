"""Distils a teacher into a student on-line, over a vectorised environment.

    python data_collection/distill.py --config experiment_training/distillation/…/distillation.yaml
    torchrun --nproc_per_node=4 data_collection/distill.py --config …

Killed and started again, the same command goes on where its newest checkpoint was saved.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from trainer.cli import run_command
from trainer.errors import ConfigError

_LOGGERS = {"tensorboard": "tensorboard", "wandb": "wandb_logger"}


def main(arguments: Sequence[str]) -> int:
    """Distil from the command line and return the exit code.

    Raises:
        Interrupted: It was asked to stop, and has saved what it had.
    """
    args = _parser().parse_args(arguments)
    # Imported after parsing, so that --help and a misspelt option answer at once.
    from data_collection.distillation.launch import enter_distillation
    from data_collection.distillation.student import load_distillation
    from trainer.distributed import join_ranks
    from trainer.registry import load_plugins

    # What the short options name need not stand in the file.
    wandb = ["trainer.loggers.wandb_logger"] if args.logger == "wandb" else []
    actor = ["data_collection.distillation.teachers.rsl_rl_actor"] if args.checkpoint else []
    load_plugins([*wandb, *actor], Path.cwd())
    loaded = load_distillation(args.config, [*args.set, *_overrides(args)])
    with (
        join_ranks(loaded.config.train.device) as ranks,
        enter_distillation(loaded, ranks, args.resume) as runner,
    ):
        runner.run()
    return 0


def _overrides(args: argparse.Namespace) -> list[str]:
    """Return what the short options mean in the configuration."""
    overrides: list[str] = []
    if args.num_envs is not None:
        overrides.append(f"num_envs={args.num_envs}")
    if args.task is not None:
        overrides.append(f"environment.type={args.task}")
    if args.checkpoint is not None:
        path = json.dumps(str(args.checkpoint.expanduser().absolute()))
        overrides.append(f"teacher={{type: rsl_rl_actor, params: {{path: {path}}}}}")
    if args.log_project_name is not None and args.logger != "wandb":
        raise ConfigError("--log_project_name is W&B's: give --logger wandb as well")
    if args.logger is not None:
        params = {"project": args.log_project_name or "distillation"}
        spec = {"type": _LOGGERS[args.logger], "params": params if args.logger == "wandb" else {}}
        overrides.append(f"logging={json.dumps([spec])}")
    return overrides


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="distill.py",
        description="Distil a teacher into a student; start the same command again to go on.",
        epilog="example: python data_collection/distill.py --config "
        "experiment_training/distillation/point_ctrl/exp2/distillation.yaml --num_envs 100 "
        "--set environment.params.wind_m_per_s=0.5",
    )
    parser.add_argument(
        *("--config", "--distill_config"),
        dest="config",
        type=Path,
        required=True,
        metavar="FILE",
        help="the distillation YAML; --distill_config is named as in the other commands",
    )
    parser.add_argument("--num_envs", type=int, help="environments of each rank")
    parser.add_argument("--task", help="another environment, by the name it is registered under")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="TEACHER", help="an RSL-RL actor is the teacher"
    )
    parser.add_argument("--logger", choices=sorted(_LOGGERS))
    parser.add_argument("--log_project_name", metavar="NAME", help="W&B's project")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one value"
    )
    parser.add_argument(
        "--resume",
        default="auto",
        metavar="auto|never|DIR",
        help="as for trainer/offline_trainer.py (default: auto)",
    )
    return parser


if __name__ == "__main__":
    run_command(main, resumes=True)
