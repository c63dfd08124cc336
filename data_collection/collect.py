"""Collects one round of episodes from one configuration, and goes on where a killed run stopped."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from data_collection.backend import (
    Backend,
    LocalBackend,
    Pool,
    add_backend_options,
    open_backend,
)
from data_collection.episodes import EpisodeError, RoundWriter, is_sealed, seal
from data_collection.player import CHECKPOINTS, Outcome
from data_collection.quota import QUARANTINE, check_complete, leaves_stragglers, too_few
from data_collection.schema import EXECUTION_KEYS, CollectConfig, RoundConfig
from trainer.cli import run_command
from trainer.config import Loaded, config_differences, load_config
from trainer.errors import ConfigError, DataError
from trainer.files import locked_folder, write_text_atomically
from trainer.progress import progress_bar
from trainer.yaml_file import from_yaml, to_yaml

_log = logging.getLogger(__name__)

_CONFIG, _TIMING = "config.yaml", "timing.json"
_RECORDED = "recorded"
"""Section of the round's config which the environment itself filled in."""


@dataclass(frozen=True)
class Timing:
    """How long collecting a round took, over its last start; the episodes do not depend on it."""

    frames: int
    seconds: float
    labelling_seconds: float
    """Spent by all workers together on label chunks."""

    @classmethod
    def read(cls, round_folder: Path) -> Timing:
        """Return the timing of a collected round."""
        return cls(**json.loads((round_folder / _TIMING).read_text()))

    def __str__(self) -> str:
        """Return one line for people."""
        return (
            f"{self.frames} frames in {self.seconds:.1f} s, {self.frames / self.seconds:.0f} a "
            f"second; label chunks took {self.labelling_seconds:.1f} s of the workers' time"
        )


def collect_round(
    loaded: Loaded[CollectConfig], *, backend: Backend | None = None, students: bool = False
) -> Path:
    """Return the folder of the sealed round, collected or found finished.

    The episodes depend on the configuration alone: neither the number of workers, nor where they
    run, nor being killed and started again changes a byte of them.

    Args:
        loaded: The round's configuration.
        backend: Who plays; by default worker processes on this machine.
        students: This process will also collect rounds in which a student acts: they start
            faster, this one slower.

    Raises:
        ConfigError: The round was begun or finished with another configuration (or, say, its
            pictures drawn in another way), or its environment or teacher cannot be built, or
            another process collects it; then nothing is written.
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
    taken = (
        f"another process collects {folder}; wait for it, stop it, or choose another folder with "
        "--set save_dir=…"
    )
    with locked_folder(folder, taken):
        _play_and_seal(loaded, folder, content, backend or LocalBackend(), students)
    return folder


def recorded_checkpoints(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that a round's teacher, drivers and student acted from."""
    recorded = from_yaml((folder / _CONFIG).read_text()).get(_RECORDED) or {}
    return recorded.get(CHECKPOINTS, {})


def _play_and_seal(
    loaded: Loaded[CollectConfig],
    folder: Path,
    content: dict[str, object],
    backend: Backend,
    students: bool,
) -> None:
    """Write what is missing of a round; ``content`` is its configuration as far as it is known."""
    try:
        with backend.pool(loaded, folder, students=students) as pool:
            content[_RECORDED] = pool.recorded
            _refuse_other_config(folder, content)
            begun = folder / _CONFIG  # that says the same, if perhaps in another order
            writer = RoundWriter(folder, begun.read_text() if begun.exists() else to_yaml(content))
            jobs = map(loaded.config.job, range(loaded.config.attempts))
            seeds = {job.id: job.seed for job in jobs}
            writer.adopt(seeds)
            shutil.rmtree(folder / QUARANTINE, ignore_errors=True)  # they get another chance
            timing, attempts = _collect(loaded.config, pool, writer)
            _log.info("%s", timing)
            write_text_atomically(folder / _TIMING, json.dumps(asdict(timing)) + "\n")
        writer.adopt(seeds)  # what a worker left when it was killed
        seal(folder, writer.records)
        _log.info("%s", _kept(loaded.config, len(writer.records), attempts))
    except EpisodeError as error:
        raise DataError(str(error)) from error


def _collect(config: CollectConfig, pool: Pool, writer: RoundWriter) -> tuple[Timing, int]:
    """Have attempts made in order until ``config`` has its episodes, or its steps.

    Returns how long it took, and how many attempts the round took over all of its starts.

    An attempt begins only when all earlier ones together are surely too few. So the episodes of
    the round are the first ones in the order of the attempts, whoever is quicker.
    """
    records, tally = writer.records, _Tally()
    found, begin = len(records), time.perf_counter()
    made = max((record.attributes.seed - config.seed + 1 for record in records.values()), default=0)
    attempts = iter(job for job in map(config.job, range(config.attempts)) if job.id not in records)
    if found:
        _log.info("going on with %d episodes that are there already", found)
    bar = progress_bar(
        total=config.episodes, initial=found, unit="episode", description="collecting"
    )
    with bar:
        while too_few(config, records.values()):
            while pool.has_room and too_few(
                config, records.values(), pool.outstanding, pool.longest
            ):
                job = next(attempts, None)
                if job is None:
                    break
                pool.submit(job)
                made = max(made, job.seed - config.seed + 1)
            if not pool.outstanding:
                check_complete(config, records.values(), tally.broken)
                break
            outcomes = pool.outcomes(config.stale_timeout_s)
            if not outcomes and leaves_stragglers(config, records.values(), pool.outstanding):
                break
            for outcome in outcomes:
                tally.count(outcome)
                if outcome.failure is not None:
                    _quarantine(writer.folder, outcome)
                if outcome.record is not None:
                    writer.enter(outcome.record)
                bar.update(len(records) - bar.n)
                bar.set_postfix(success=f"{1 - tally.failed / tally.played:.2f}", refresh=False)
    return Timing(tally.frames, time.perf_counter() - begin, tally.labelling_seconds), made


def _kept(config: CollectConfig, episodes: int, attempts: int) -> str:
    """Return one line about how many of the attempts the round holds."""
    line = f"{episodes} episodes of {attempts} attempts"
    if attempts > episodes and not config.keep_failures:
        line += "; failures are dropped, keep_failures: true would keep them"
    return line


@dataclass
class _Tally:
    """What came of the jobs since this start."""

    played: int = 0
    failed: int = 0
    frames: int = 0
    labelling_seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def count(self, outcome: Outcome) -> None:
        self.played += 1
        self.labelling_seconds += outcome.labelling_seconds
        if outcome.failure is not None:
            self.broken.append(outcome.job.id)
        if outcome.record is None:
            self.failed += 1
        else:
            self.frames += outcome.record.length
            self.failed += not outcome.record.attributes.success


def _quarantine(folder: Path, outcome: Outcome) -> None:
    """Keep what is known of a rollout that was given up, beside the round's episodes."""
    path = folder / QUARANTINE / f"{outcome.job.id}.log"
    path.parent.mkdir(exist_ok=True)
    write_text_atomically(path, f"seed {outcome.job.seed}\n{outcome.failure}\n")


def _refuse_other_config(
    folder: Path, content: Mapping[str, object], ignore: Sequence[str] = ()
) -> None:
    """Raise ConfigError, naming each difference, when the round has another configuration."""
    path = folder / _CONFIG
    if not path.is_file():
        return
    # Read with the schema's defaults: an older round does not name what is newer than itself.
    saved = load_config(path, RoundConfig, implicit={"save_dir": str(folder.parent)}).resolved
    differences = config_differences(saved, content, [*EXECUTION_KEYS, *ignore])
    if differences:
        lines = "\n  ".join(differences)
        raise ConfigError(
            f"{path}: this round has another configuration; choose another round or save_dir, or "
            f"go back to the old values:\n  {lines}"
        )


def main(arguments: Sequence[str]) -> int:
    """Collect from the command line and return the exit code."""
    args = _parser().parse_args(arguments)
    overrides = list(args.set)
    if args.workers is not None:
        overrides.append(f"workers={args.workers}")
    loaded = load_config(args.collect_config, CollectConfig, overrides)
    with open_backend(args) as backend:
        folder = collect_round(loaded, backend=backend)
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
    add_backend_options(parser)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a value"
    )
    return parser


if __name__ == "__main__":
    run_command(main, resumes=True)
