"""Collects one round of episodes from one configuration, and goes on where a killed run stopped."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from tqdm import tqdm

from data_collection.episodes import EpisodeError, RoundWriter, is_sealed, seal
from data_collection.schema import EXECUTION_KEYS, CollectConfig
from data_collection.workers import WorkerPool
from trainer.cli import run_command
from trainer.config import Loaded, config_differences, load_config
from trainer.errors import ConfigError, DataError, UserError

_log = logging.getLogger(__name__)

_CONFIG = "config.yaml"
_RECORDED = "recorded"
"""Section of the round's config which the environment itself filled in."""


def collect_round(loaded: Loaded[CollectConfig]) -> Path:
    """Return the folder of the sealed round, collected or found finished.

    The episodes depend on the configuration alone: neither the number of workers nor being killed
    and started again changes a byte of them.

    Raises:
        ConfigError: The round was begun or finished with another configuration (or, say, its
            pictures drawn in another way), or its environment or teacher cannot be built; then
            nothing is written.
        DataError: An episode cannot be written.
        UserError: Too few attempts succeed, or workers keep dying.
    """
    config = loaded.config
    folder = loaded.root / Path(config.save_dir).expanduser() / f"round_{config.round:03d}"
    content = {key: value for key, value in loaded.resolved.items() if key not in EXECUTION_KEYS}
    _refuse_other_config(folder, content, ignore=[_RECORDED])
    if is_sealed(folder):
        _log.info("%s is finished already", folder)
        return folder
    try:
        with WorkerPool(loaded, folder, _worker_count(config)) as pool:
            content[_RECORDED] = pool.recorded
            _refuse_other_config(folder, content)
            writer = RoundWriter(folder, yaml.safe_dump(content, sort_keys=False))
            writer.adopt()
            _collect(config, pool, writer)
        writer.adopt()  # what a worker left when it was killed
        seal(folder)
    except EpisodeError as error:
        raise DataError(str(error)) from error
    return folder


def _collect(config: CollectConfig, pool: WorkerPool, writer: RoundWriter) -> None:
    """Have attempts made in order until ``config.episodes`` episodes are written.

    An attempt begins only while all earlier ones together could still be too few. So the episodes
    of the round are the first successes in the order of the attempts, whoever is quicker.
    """
    records = writer.records
    found, failed, frames, begin = len(records), 0, 0, time.perf_counter()
    attempts = iter(job for job in map(config.job, range(config.attempts)) if job.id not in records)
    if found:
        _log.info("going on with %d episodes that are there already", found)
    with tqdm(total=config.episodes, initial=found, unit="episode", desc="collecting") as bar:
        while len(records) < config.episodes:
            while pool.has_room and len(records) + pool.outstanding < config.episodes:
                job = next(attempts, None)
                if job is None:
                    break
                pool.submit(job)
            if not pool.outstanding:
                raise UserError(
                    f"only {len(records)} of {config.attempts} attempts succeeded, "
                    f"{config.episodes} episodes were asked for; raise max_attempts, keep "
                    "failures (keep_failures: true), or choose a better teacher"
                )
            for outcome in pool.outcomes():
                if outcome.record is None:
                    failed += 1
                else:
                    writer.enter(outcome.record)
                    frames += outcome.record.length
                    failed += not outcome.record.attributes.success
                bar.update(len(records) - bar.n)
                share = _share(len(records) - found, failed, config)
                bar.set_postfix(success=f"{share:.2f}", refresh=False)
    seconds = time.perf_counter() - begin
    _log.info("%d frames in %.1f s, %.0f a second", frames, seconds, frames / seconds)


def _share(written: int, failed: int, config: CollectConfig) -> float:
    """Return the share of this run's attempts that succeeded."""
    attempts = written if config.keep_failures else written + failed
    return (attempts - failed) / attempts


def _refuse_other_config(
    folder: Path, content: Mapping[str, object], ignore: Sequence[str] = ()
) -> None:
    """Raise ConfigError, naming each difference, when the round has another configuration."""
    path = folder / _CONFIG
    if not path.is_file():
        return
    differences = config_differences(yaml.safe_load(path.read_text()), content, ignore)
    if differences:
        lines = "\n  ".join(differences)
        raise ConfigError(
            f"{path}: this round has another configuration; choose another round or save_dir, or "
            f"go back to the old values:\n  {lines}"
        )


def _worker_count(config: CollectConfig) -> int:
    return min(config.workers or len(os.sched_getaffinity(0)), config.episodes)


def main(arguments: Sequence[str]) -> int:
    """Collect from the command line and return the exit code."""
    args = _parser().parse_args(arguments)
    overrides = list(args.set)
    if args.workers is not None:
        overrides.append(f"workers={args.workers}")
    folder = collect_round(load_config(args.collect_config, CollectConfig, overrides))
    sys.stdout.write(f"{folder}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="collect.py",
        description="Collect one round of episodes. A killed run goes on where it stopped.",
        epilog="example: python data_collection/collect.py --collect_config "
        "experiment_training/data_collection/pick_place/exp1/collect.yaml --set episodes=100",
    )
    parser.add_argument("--collect_config", type=Path, required=True, help="the round's YAML")
    parser.add_argument("--workers", type=int, help="processes (default: one for each CPU)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a value"
    )
    return parser


if __name__ == "__main__":
    run_command(main)
