"""Runs a whole DAgger experiment: phase I, then rounds of collect, train, evaluate, report.

    python data_collection/dagger_runner.py --dagger_config experiment_training/dagger/…/dagger.yaml

Idempotent: killed at any moment and started again with the same command it goes on where it was.
Every step knows from its own output whether it is finished; nothing else is remembered.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from data_collection.backend import Backend, add_backend_options, open_backend
from data_collection.collect import recorded_checkpoints
from data_collection.dagger.guard import choose_driver, set_aside_if_worse
from data_collection.dagger.records import RoundRecord, TimedSteps, best_round
from data_collection.dagger.report import write_report
from data_collection.dagger.schema import DaggerConfig
from data_collection.dagger.steps import DaggerSteps
from data_collection.dagger.tensorboard import log_round
from data_collection.label_error import label_errors, root_mean_square
from data_collection.schema import EXECUTION_KEYS
from data_collection.teachers import teachers
from data_collection.teachers.check import check_teacher
from trainer.acting import load_policy
from trainer.checkpoint import Checkpoint
from trainer.cli import run_command
from trainer.config import Loaded, config_differences, load_config
from trainer.distributed import choose_device
from trainer.errors import ConfigError, DataError, UserError
from trainer.evaluation import Evaluation
from trainer.files import locked_folder, write_text_atomically
from trainer.registry import environments, load_plugins
from trainer.signature import build
from trainer.sweep import add_sweep_options, read_sweep
from trainer.yaml_file import to_yaml

_log = logging.getLogger(__name__)

_CHANGEABLE = (*EXECUTION_KEYS, "n_rounds", "evaluation.videos", "evaluation.video_every")
"""What may be another value when an experiment is started again."""


class DaggerRunner:
    """One experiment in one folder.

    The folder holds ``data/round_{NNN}``, ``train/round_{NNN}/epoch_{N}``, ``rounds/{NNN}.json``
    (figures), ``configs/`` (the generated YAMLs), ``videos/``, ``tensorboard/``, ``report.html``
    and ``summary.json``.
    """

    def __init__(self, loaded: Loaded[DaggerConfig], backend: Backend) -> None:
        self.loaded = loaded
        self.config = loaded.config
        self.folder = loaded.root / Path(loaded.config.save_dir).expanduser()
        self.steps = DaggerSteps(loaded, self.folder, backend)
        self._teacher_file = self.folder / "teacher.json"
        load_plugins(loaded.config.plugins, loaded.root, loaded.under("plugins"))

    def run(self) -> list[RoundRecord]:
        """Return the figures of every round.

        Raises:
            ConfigError: the folder belongs to another configuration, or to a process that runs.
            UserError: the teacher is not good enough, or a step failed.
        """
        taken = (
            f"another process runs the experiment in {self.folder}; wait for it, stop it, or "
            "choose another folder with --set save_dir=…"
        )
        self.steps.check()
        with locked_folder(self.folder, taken):
            return self._run()

    def _run(self) -> list[RoundRecord]:
        self._claim_folder()
        teacher = self._teacher_figures()
        records: list[RoundRecord] = []
        for index in range(self.config.n_rounds + 1):
            records.append(self._round(index, records))
            # Of finished rounds the newest: what stands there may know of all of them.
            if index == self.config.n_rounds or not self._record(index + 1).exists():
                write_report(self.folder, self.config, teacher, records)
        return records

    def _record(self, index: int) -> Path:
        return self.folder / "rounds" / f"{index:03d}.json"

    def _round(self, index: int, earlier: Sequence[RoundRecord]) -> RoundRecord:
        path = self._record(index)
        if path.exists():
            return RoundRecord.read(path)
        timed = TimedSteps(path.with_name(f".{index:03d}.times.json"))
        driver = choose_driver(self.folder, earlier) if earlier else None
        with timed.step("collect"):
            data = self.steps.collect(index, driver)
            if driver is None:  # later rounds are compared with this one
                self._refuse_changed_teacher(data)
        with timed.step("train"):
            checkpoint = self.steps.train(index, driver)
        with timed.step("evaluate"):
            student = load_policy(checkpoint, choose_device("auto"))
            evaluation, videos = self.steps.evaluate(index, student)
            label_error = self._label_error(index, driver)
        _log.info("round %d: %s", index, evaluation)
        record = RoundRecord.of_round(
            index,
            self.folder,
            data=data,
            driver=driver,
            checkpoint=checkpoint,
            evaluation=evaluation,
            label_error=label_error,
            videos=videos,
            seconds=timed.seconds,
        )
        set_aside_if_worse(record, earlier, keep=self.config.phase2.keep_better_driver)
        log_round(self.folder, record, earlier)
        write_text_atomically(path, record.to_json())
        return record

    def _label_error(self, index: int, driver: Checkpoint | None) -> dict[str, float] | None:
        """Return how far the driver was from the labels of phase I, and of what it visited."""
        if driver is None:
            return None
        saved = load_policy(driver, choose_device("auto"))
        states = {"teacher": 0, "student": index}
        try:
            return {
                whose: root_mean_square(label_errors(saved, self.steps.folder.data(number)))
                for whose, number in states.items()
            }
        except DataError as error:  # all rounds together could be trained on, one alone may not
            _log.warning("round %d: the label error is left out: %s", index, error)
            return None

    def _claim_folder(self) -> None:
        path = self.folder / "config.yaml"
        content = dict(self.loaded.resolved)
        if path.exists() and self._teacher_file.exists():  # before that nothing depends on it
            differences = config_differences(
                load_config(path, DaggerConfig).resolved, content, _CHANGEABLE
            )
            if differences:
                raise ConfigError(
                    f"{self.folder} belongs to an experiment with another configuration:\n  "
                    + "\n  ".join(differences)
                    + "\nput these values back, or choose a new folder with --set save_dir=…"
                )
        write_text_atomically(path, to_yaml(content))

    def _teacher_figures(self) -> Evaluation:
        if self._teacher_file.exists():
            saved = json.loads(self._teacher_file.read_text())
            return Evaluation.from_plain(saved.get("figures", saved))
        config = self.config
        environment = build(
            environments,
            config.environment,
            self.loaded.under("environment"),
            {"root": self.loaded.root},
        )
        teacher = build(
            teachers, config.teacher, self.loaded.under("teacher"), {"root": self.loaded.root}
        )
        if not teacher.memoryless and config.n_rounds and config.phase2.dart_scale is None:
            raise ConfigError(
                f"{self.loaded.at('teacher')}: {config.teacher.type} remembers earlier steps, so "
                "it cannot label what a student does; for a policy_checkpoint use "
                "execute_horizon: 1"
            )
        figures = check_teacher(
            teacher,
            environment,
            episodes=config.evaluation.episodes,
            seed=config.evaluation.seed,
            min_success=config.min_teacher_success,
            min_return=config.min_teacher_return,
            max_steps=config.evaluation.max_steps,
            stop_on_success=config.evaluation.stop_on_success,
        )
        environment.close()
        _log.info("teacher: %s", figures)
        saved = {"checkpoint": teacher.checkpoint, "figures": asdict(figures)}
        write_text_atomically(self._teacher_file, json.dumps(saved, indent=1) + "\n")
        return figures

    def _refuse_changed_teacher(self, data: Path) -> None:
        """Raise ConfigError when a round was labelled by another teacher than was looked at."""
        saved = json.loads(self._teacher_file.read_text())
        looked_at, acted = saved.get("checkpoint"), recorded_checkpoints(data).get("teacher")
        if "checkpoint" in saved and looked_at != acted:
            raise ConfigError(
                f"{data} was labelled by another teacher (weights {acted}) than the one whose "
                f"figures are in {self._teacher_file} ({looked_at}): its file has changed in "
                f"between; put the old one back and delete {data}, or begin anew with --set "
                "save_dir=…"
            )


def main(arguments: Sequence[str]) -> int:
    """Run an experiment, or the lines of a sweep, and return the exit code."""
    args = _parser().parse_args(arguments)
    runs = [
        load_config(args.dagger_config, DaggerConfig, [*args.set, *overrides])
        for overrides in read_sweep(args.sweep, args.index, "save_dir")
    ]
    failed: list[UserError] = []
    with open_backend(args) as backend:
        runners = [DaggerRunner(loaded, backend) for loaded in runs]
        for runner in runners[1:]:  # before the first one, which looks at its own, takes its hours
            runner.steps.check()
        for number, runner in enumerate(runners, start=1):
            try:
                _run(runner)
            except UserError as error:
                failed.append(error)
                if number < len(runners):
                    _log.error("run %d of %d: %s", number, len(runners), error)
    if len(failed) == 1:
        raise failed[0]
    if failed:
        raise UserError("\n".join(map(str, failed)))
    return 0


def _run(runner: DaggerRunner) -> None:
    records = runner.run()
    best = best_round(records)
    sys.stdout.write(
        f"last round: {records[-1].evaluation}\n"
        f"best round: {best.round}; report: {runner.folder / 'report.html'}\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Run a DAgger experiment; start the same command again to go on.",
        epilog="example: python data_collection/dagger_runner.py --dagger_config "
        "experiment_training/dagger/peg_insert_side/exp1/dagger.yaml",
    )
    parser.add_argument("--dagger_config", type=Path, required=True, metavar="FILE")
    add_sweep_options(parser)
    add_backend_options(parser)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one value"
    )
    return parser


if __name__ == "__main__":
    run_command(main, resumes=True)
