"""Success rate, return and videos of a checkpoint, where its data came from or elsewhere.

python trainer/evaluate.py --checkpoint runs/naive_flow_matching_policy/exp3 --episodes 100
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from trainer.acting import load_policy
from trainer.checkpoint import resolve_checkpoint
from trainer.cli import nonnegative, output_file, positive, run_command
from trainer.config import load_config
from trainer.distributed import choose_device
from trainer.environment import EVALUATION_SEED_START
from trainer.errors import ConfigError
from trainer.evaluation import Evaluation, summarize
from trainer.evaluation_record import (
    differing_settings,
    refuse_other,
    settings_of,
    unused,
    write_record,
)
from trainer.interfaces import Interface, Policy
from trainer.planner import PolicyPlanner
from trainer.progress import progress_bar
from trainer.registry import UnknownComponentError, environments, load_plugins
from trainer.rollout import RolloutJob, rollout
from trainer.run import Run
from trainer.schema import ComponentSpec, EvaluationConfig
from trainer.signature import build, check_spec
from trainer.video import VideoHooks

_log = logging.getLogger(__name__)


def evaluate(
    policy: Policy,
    interface: Interface,
    environment: ComponentSpec,
    config: EvaluationConfig,
    *,
    at: Callable[..., str],
    root: Path,
    episodes: int,
    seed: int,
    video_folder: Path | None = None,
) -> tuple[Evaluation, list[Path]]:
    """Return how ``policy`` does in ``episodes`` fresh episodes from ``seed`` on, and its videos.

    Those of the first ``config.videos`` episodes go to ``video_folder`` as
    ``episode_{seed}_{success|failure}.mp4``. Paths in the environment's params start from ``root``.

    Raises:
        ConfigError: the environment cannot be built or does not fit the policy.
        UserError: the policy gives actions that are not finite.
    """
    slots = [
        build(environments, environment, at, {"root": root})
        for _ in range(min(episodes, config.inference_batch))
    ]
    planner = PolicyPlanner(
        policy,
        interface,
        inference_batch=config.inference_batch,
        execute_horizon=config.execute_horizon,
        temporal_ensembling=config.temporal_ensembling,
    )
    jobs = [RolloutJob(id=str(s), seed=s) for s in range(seed, seed + episodes)]
    filmed = {job.id for job in jobs[: config.videos]} if video_folder else set()
    hooks = VideoHooks(video_folder or Path(), filmed)
    start = time.perf_counter()
    try:
        results = list(
            progress_bar(
                rollout(
                    slots,
                    jobs,
                    planner=planner,
                    hooks=hooks,
                    max_steps=config.max_steps,
                    stop_on_success=config.stop_on_success,
                ),
                total=episodes,
                description="evaluating",
                unit="episode",
                leave=False,
            )
        )
    finally:
        for slot in slots:
            slot.close()
    return summarize(results, time.perf_counter() - start), sorted(hooks.videos)


def evaluate_in_training(
    policy: Policy, run: Run, epoch: int
) -> tuple[dict[str, float], list[Path]]:
    """Return the figures to log, and the videos, of the acting weights after ``epoch`` epochs."""
    config, environment = run.config.evaluation, run.environment
    if config is None or environment is None:
        raise ValueError("this run has nothing to be evaluated in")
    load_plugins(config.plugins, run.root)
    evaluation, videos = evaluate(
        policy,
        run.interface,
        environment,
        config,
        at=run.experiment.under("evaluation", "environment"),
        root=run.root,
        episodes=config.episodes,
        seed=config.seed,
        video_folder=run.save_dir / "videos" / f"epoch_{epoch}",
    )
    tqdm.write(f"epoch {epoch}: {evaluation}")
    return evaluation.figures(), videos


def main(arguments: Sequence[str]) -> int:
    """Evaluate a checkpoint from the command line and return the exit code."""
    args = _parser().parse_args(arguments)
    checkpoint, device = resolve_checkpoint(args.checkpoint), choose_device(args.device)
    if args.environment and any(each.startswith("evaluation.environment") for each in args.set):
        raise ConfigError("--environment and --set evaluation.environment: give one of the two")
    saved = load_policy(checkpoint, device, args.set)
    config = (saved.config.evaluation or EvaluationConfig(every=None)).model_copy(
        update={
            name: value
            for name, value in (
                ("episodes", args.episodes),
                ("seed", args.seed),
                ("videos", args.video),
                ("execute_horizon", args.execute_horizon),
            )
            if value is not None
        }
    )
    if config.seed < EVALUATION_SEED_START:
        _log.warning(
            "seeds below %d may be those of recorded episodes: this is no measure of what is new",
            EVALUATION_SEED_START,
        )
    load_plugins([*config.plugins, *args.plugin], saved.root)
    other = load_config(args.environment, ComponentSpec) if args.environment else None
    environment = other.config if other else saved.environment
    if environment is None:
        raise ConfigError(
            f"{checkpoint.folder / 'resolved.yaml'}: no environment is recorded; the experiment "
            "must name one under evaluation.environment, or the command with --environment"
        )
    at, root = (other.at, other.root) if other else (saved.at, saved.root)
    try:
        check_spec(environments, environment, at, {"root": root})
    except UnknownComponentError as error:
        raise ConfigError(f"{error}; to this command plugins are named with --plugin") from error
    name = checkpoint.folder.name + (f"_{args.environment.stem}" if args.environment else "")
    wanted = args.output or checkpoint.folder.parent / f"evaluation_{name}.json"
    settings = settings_of(config, environment, saved.config.policy, checkpoint, device.type)
    if args.output:
        refuse_other(wanted, settings)
    output = unused(wanted, settings)
    evaluation, _ = evaluate(
        saved.policy,
        saved.config.interface.to_interface(),
        environment,
        config,
        at=at,
        root=root,
        episodes=config.episodes,
        seed=config.seed,
        video_folder=output.parent / "videos" / output.stem,
    )
    taken = differing_settings(wanted, settings)
    output = unused(wanted, settings)  # another evaluation may have ended meanwhile
    write_record(output, evaluation, settings, checkpoint)
    sys.stdout.write(f"{evaluation}\nwritten to {output}\n")
    if taken:
        listing = "\n  ".join(taken)
        sys.stdout.write(f"{wanted.name} stays, which was measured otherwise:\n  {listing}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Roll a checkpoint out in the environment its data came from, or another one.",
        epilog=(
            "examples:\n"
            "  python trainer/evaluate.py --checkpoint runs/demo/train/round_002 --episodes 100\n"
            "  python trainer/evaluate.py --checkpoint runs/demo/train/round_002/epoch_1 "
            "--video 4\n"
            "  … --checkpoint runs/demo/exp1/best         the one that best.json names\n"
            "  … --set policy.params.flow.num_steps=2     other ways to act, without training\n"
            "  … --set evaluation.temporal_ensembling=0.1 --set evaluation.max_steps=200\n"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        help="a checkpoint, a run (its newest one), or RUN/best",
    )
    config = "default: as the experiment's evaluation has it"
    parser.add_argument("--episodes", type=positive, help=f"how many ({config})")
    parser.add_argument("--seed", type=nonnegative, help=f"seed of the first episode ({config})")
    parser.add_argument(
        "--video",
        type=nonnegative,
        metavar="K",
        help=f"film the first K episodes, 0: none ({config})",
    )
    parser.add_argument(
        "--execute_horizon", type=positive, help=f"steps executed of each chunk ({config})"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one value of the experiment, below evaluation or policy.params",
    )
    parser.add_argument(
        "--environment", type=Path, metavar="FILE", help="another one: a YAML of {type, params}"
    )
    parser.add_argument("--plugin", action="append", default=[], help="a further plugin to load")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument(
        "--output",
        type=output_file,
        metavar="FILE",
        help="where the figures go, the videos beside them (default: evaluation_epoch_N.json in "
        "the run, with the name of another environment's FILE, and _2, _3, … where the name is "
        "taken by an evaluation with other settings)",
    )
    return parser


if __name__ == "__main__":
    run_command(main)
