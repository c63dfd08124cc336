"""Runs a whole DAgger experiment: phase I, then rounds of collect, train, evaluate, report.

    python data_collection/dagger_runner.py --dagger_config experiment_training/dagger/…/dagger.yaml

Idempotent: killed at any moment and started again with the same command it goes on where it was.
Every step knows from its own output whether it is finished; nothing else is remembered.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from data_collection.collect import collect_round
from data_collection.dagger_report import write_report
from data_collection.dagger_schema import DaggerConfig
from data_collection.dagger_state import RoundRecord, TimedSteps
from data_collection.schema import CollectConfig
from data_collection.teachers import teachers
from data_collection.teachers.check import check_teacher
from trainer import offline_trainer
from trainer.acting import load_policy
from trainer.build import load_experiment
from trainer.checkpoint import Checkpoint, newest_checkpoint, open_checkpoint
from trainer.cli import run_command
from trainer.config import Loaded, config_differences, load_config
from trainer.distributed import choose_device
from trainer.errors import ConfigError, UserError
from trainer.evaluate import Evaluation, evaluate
from trainer.files import write_text_atomically
from trainer.registry import environments, load_plugins
from trainer.schema import EvaluationConfig, RolloutConfig
from trainer.signature import build
from trainer.yaml_file import to_yaml

_log = logging.getLogger(__name__)

_EXECUTION = ("workers", "environments_per_worker", "save_dir", "n_rounds")


class DaggerRunner:
    """One experiment in one folder.

    The folder holds ``data/round_{NNN}``, ``train/round_{NNN}/epoch_{N}``, ``rounds/{NNN}.json``
    (figures), ``configs/`` (the generated YAMLs), ``report.html`` and ``summary.json``.
    """

    def __init__(self, loaded: Loaded[DaggerConfig]) -> None:
        self.loaded = loaded
        self.config = loaded.config
        self.folder = loaded.root / Path(loaded.config.save_dir).expanduser()
        load_plugins(loaded.config.plugins, loaded.root, loaded.under("plugins"))

    def run(self) -> list[RoundRecord]:
        """Return the figures of every round.

        Raises:
            ConfigError: the folder belongs to another configuration.
            UserError: the teacher is not good enough, or a step failed.
        """
        self._claim_folder()
        teacher = self._teacher_figures()
        records: list[RoundRecord] = []
        for index in range(self.config.n_rounds + 1):
            records.append(self._round(index, records))
            write_report(self.folder, self.config, teacher, records)
        return records

    def _round(self, index: int, earlier: Sequence[RoundRecord]) -> RoundRecord:
        path = self.folder / "rounds" / f"{index:03d}.json"
        if path.exists():
            return RoundRecord.read(path)
        timed = TimedSteps(self.folder / "rounds" / f".{index:03d}.times.json")
        driver = self._driver(earlier) if earlier else None
        with timed.step("collect"):
            data = collect_round(self._collect_config(index, driver))
        with timed.step("train"):
            checkpoint = self._train(index, driver)
        with timed.step("evaluate"):
            evaluation, videos = self._evaluate(index, checkpoint)
        record = RoundRecord.of_round(
            index, self.folder, data, checkpoint, evaluation, videos, timed.seconds, driver
        )
        if earlier:
            self._guard(record, earlier)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, record.to_json())
        return record

    # ---- steps -----------------------------------------------------------------------------------

    def _collect_config(self, index: int, driver: Checkpoint | None) -> Loaded[CollectConfig]:
        config, phase1, phase2 = self.config, self.config.phase1, self.config.phase2
        tree: dict[str, object] = {
            "plugins": list(config.plugins),
            "save_dir": str(self.folder / "data"),
            "round": index,
            "seed": config.first_seed(index),
            "environment": config.environment.model_dump(mode="json"),
            "teacher": config.teacher.model_dump(mode="json"),
            "recording": config.recording.model_dump(mode="json"),
            "keep_failures": True,
            "stop_on_success": config.evaluation.stop_on_success,
            "workers": config.workers,
            "environments_per_worker": config.environments_per_worker,
            "labels": phase2.labels.model_dump(mode="json")
            | {"horizon": phase2.labels.horizon or self._chunk()},
        }
        if driver is None:
            tree |= {
                "episodes": phase1.episodes,
                "max_steps": phase1.max_steps,
                "drivers": [source.model_dump(mode="json") for source in phase1.sources],
            }
        else:
            student = phase2.model_dump(
                mode="json",
                include={"execute_horizon", "temporal_ensembling", "inference_batch", "mixing"},
            )
            tree |= {
                "episodes": phase2.rollouts,
                "max_steps": phase2.max_steps,
                "student": student | {"checkpoint": str(driver.folder)},
            }
        return load_config(self._save_yaml(f"{index:03d}_collect", tree), CollectConfig)

    def _train(self, index: int, driver: Checkpoint | None) -> Checkpoint:
        train = self.config.train
        save_dir = self.folder / "train" / f"round_{index:03d}"
        settings: dict[str, object] = {
            **train.set,
            "seed": self.config.seed,
            "train.save_dir": str(save_dir),
            "data.dataset.params.rounds": [
                str(self.folder / "data" / f"round_{i:03d}") for i in range(index + 1)
            ],
            "evaluation": None,
        }
        if driver is not None and train.start == "previous":
            settings["train.load_dir"] = str(driver.folder)
        overrides = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        tree = load_experiment(self.loaded.root / train.config, overrides)
        path = self._save_yaml(f"{index:03d}_train", tree.resolved)
        arguments = ["--train_config", str(path)]
        if train.nproc_per_node == 1:
            code = offline_trainer.main(arguments)
        else:
            code = subprocess.run(
                [
                    *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                    f"--nproc_per_node={train.nproc_per_node}",
                    str(Path(offline_trainer.__file__)),
                    *arguments,
                ]
            ).returncode
        if code:
            raise UserError(f"training of round {index} ended with exit code {code}: see above")
        checkpoint = newest_checkpoint(save_dir)
        if checkpoint is None:
            raise UserError(f"training of round {index} left no checkpoint in {save_dir}")
        return open_checkpoint(checkpoint.folder)

    def _evaluate(self, index: int, checkpoint: Checkpoint) -> tuple[Evaluation, list[Path]]:
        config = self.config.evaluation
        filmed = config.video_every > 0 and index % config.video_every == 0
        rollout = config.model_dump(include=set(RolloutConfig.model_fields))
        folder = self.folder / "videos" / f"round_{index:03d}"
        saved = load_policy(checkpoint, choose_device("auto"))
        evaluation = evaluate(
            saved.policy,
            saved.config.interface.to_interface(),
            self.config.environment,
            EvaluationConfig(every=1, videos=config.videos if filmed else 0, **rollout),
            at=self.loaded.under("environment"),
            episodes=config.episodes,
            seed=config.seed,
            video_folder=folder,
        )
        _log.info("round %d: %s", index, evaluation)
        return evaluation, sorted(folder.glob("*.mp4"))

    # ---- who drives ------------------------------------------------------------------------------

    def _driver(self, earlier: Sequence[RoundRecord]) -> Checkpoint:
        """Return the newest student fit to drive: finite, and not one that the guard set aside."""
        for record in reversed(earlier):
            if record.set_aside:
                continue
            checkpoint = open_checkpoint(self.folder / record.checkpoint)
            if _is_finite(checkpoint):
                return checkpoint
            _log.warning("%s holds NaN or infinite weights: refused", checkpoint.folder)
        raise UserError(f"{self.folder}: no round has left a student with finite weights")

    def _guard(self, record: RoundRecord, earlier: Sequence[RoundRecord]) -> None:
        """Say so, and by option set the student aside, when it does worse on the same seeds."""
        before = next(r for r in reversed(earlier) if not r.set_aside)
        worse = record.success_rate < before.success_interval[0] or (
            record.success_rate == before.success_rate
            and record.mean_return < before.mean_return - 2 * before.return_error()
        )
        if not worse:
            return
        record.set_aside = self.config.phase2.keep_better_driver
        _log.warning(
            "round %d does worse than round %d on the same seeds (success %.2f after %.2f, return "
            "%.1f after %.1f)%s",
            record.round,
            before.round,
            record.success_rate,
            before.success_rate,
            record.mean_return,
            before.mean_return,
            f"; round {before.round} drives on" if record.set_aside else "",
        )

    # ---- the experiment's folder -----------------------------------------------------------------

    def _claim_folder(self) -> None:
        path = self.folder / "config.yaml"
        content = dict(self.loaded.resolved)
        if path.exists():
            differences = config_differences(
                load_config(path, DaggerConfig).resolved, content, _EXECUTION
            )
            if differences:
                raise ConfigError(
                    f"{self.folder} belongs to an experiment with another configuration:\n  "
                    + "\n  ".join(differences)
                    + "\nput these values back, or choose a new folder with --set save_dir=…"
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, to_yaml(content))

    def _teacher_figures(self) -> Evaluation:
        path = self.folder / "teacher.json"
        if path.exists():
            return Evaluation.from_json(path.read_text())
        config = self.config
        environment = build(environments, config.environment, self.loaded.under("environment"))
        teacher = build(
            teachers, config.teacher, self.loaded.under("teacher"), {"root": self.loaded.root}
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
        write_text_atomically(path, figures.to_json())
        return figures

    def _chunk(self) -> int:
        experiment = load_experiment(
            self.loaded.root / self.config.train.config,
            [f"{key}={json.dumps(value)}" for key, value in self.config.train.set.items()],
        )
        return experiment.config.interface.chunk

    def _save_yaml(self, name: str, tree: Mapping[str, object]) -> Path:
        path = self.folder / "configs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, to_yaml(tree))
        return path


def _is_finite(checkpoint: Checkpoint) -> bool:
    return all(
        bool(torch.isfinite(value).all())
        for name in checkpoint.components()
        for value in checkpoint.component(name).values()
        if value.is_floating_point()
    )


def main(arguments: Sequence[str]) -> int:
    """Run an experiment, or every line of a sweep, and return the exit code."""
    args = _parser().parse_args(arguments)
    for overrides in _sweep(args.sweep):
        loaded = load_config(args.dagger_config, DaggerConfig, [*overrides, *args.set])
        records = DaggerRunner(loaded).run()
        best = max(records, key=lambda r: (r.success_rate, r.mean_return))
        sys.stdout.write(
            f"last round: success {records[-1].success_rate:.2f}, return "
            f"{records[-1].mean_return:.1f}; best round {best.round}; report: "
            f"{Path(loaded.config.save_dir) / 'report.html'}\n"
        )
    return 0


def _sweep(path: Path | None) -> list[list[str]]:
    if path is None:
        return [[]]
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return [[f"{key}={json.dumps(value)}" for key, value in line.items()] for line in lines]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Run a DAgger experiment; start the same command again to go on.",
        epilog="example: python data_collection/dagger_runner.py --dagger_config "
        "experiment_training/dagger/peg_insert_side/exp1/dagger.yaml",
    )
    parser.add_argument("--dagger_config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--sweep", type=Path, metavar="FILE", help="JSON lines of overrides")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one value"
    )
    return parser


if __name__ == "__main__":
    run_command(main)
