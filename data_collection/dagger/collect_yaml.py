"""The YAML that a round is collected by, made from the experiment's."""

from __future__ import annotations

from pathlib import Path

from data_collection.dagger.folder import ExperimentFolder
from data_collection.dagger.schema import DaggerConfig, SourceConfig
from data_collection.dart import dart_covariance
from trainer.checkpoint import Checkpoint, resolve_checkpoint
from trainer.config import ROOT, Loaded
from trainer.schema import PlanningConfig
from trainer.yaml_file import from_yaml


class CollectYaml:
    """What ``collect.py`` is told in each round of an experiment.

    Args:
        loaded: The experiment.
        folder: Where it lives.
    """

    def __init__(self, loaded: Loaded[DaggerConfig], folder: ExperimentFolder) -> None:
        self._config, self._root = loaded.config, loaded.root
        self._folder = folder

    def save(self, index: int, driver: Checkpoint | None, chunk: int) -> Path:
        """Write the YAML of a round and return its file.

        Args:
            index: The round.
            driver: The student that drives; None where teachers do.
            chunk: Length of the student's action chunks: labels are as long unless said otherwise.
        """
        config, labels = self._config, self._config.phase2.labels
        tree: dict[str, object] = {
            ROOT: str(self._root),
            "plugins": list(config.plugins),
            "save_dir": str(self._folder.data(index).parent),
            "round": index,
            "seed": config.first_seed(index),
            "environment": config.environment.model_dump(mode="json"),
            "generated": config.generated.model_dump(mode="json") if config.generated else None,
            "teacher": config.teacher.model_dump(mode="json"),
            "recording": config.recording.model_dump(mode="json"),
            "keep_failures": True,
            "stop_on_success": config.evaluation.stop_on_success,
            "workers": config.workers,
            "environments_per_worker": config.environments_per_worker,
            "max_retries": config.max_retries,
            "min_completed": config.min_completed,
            "stale_timeout_s": config.stale_timeout_s,
            "cluster": config.cluster.model_dump(mode="json"),
            "labels": labels.model_dump(mode="json") | {"horizon": labels.horizon or chunk},
        }
        tree |= self._phase1(index) if driver is None else self._phase2(index, driver)
        return self._folder.save_yaml(f"{index:03d}_collect", tree)

    def _phase1(self, index: int) -> dict[str, object]:
        phase1 = self._config.phase1
        return {
            "render_mode": phase1.render_mode,
            "episodes": phase1.episodes,
            "min_steps": phase1.min_steps,
            "max_steps": phase1.max_steps,
            "drivers": [self._source(index, i, s) for i, s in enumerate(phase1.sources)],
        }

    def _source(self, index: int, number: int, source: SourceConfig) -> dict[str, object]:
        tree: dict[str, object] = source.model_dump(mode="json", exclude={"dart"})
        if source.dart is None:
            return tree
        student = resolve_checkpoint(self._root / Path(source.dart.student).expanduser())
        data = self._root / Path(source.dart.data).expanduser()
        return tree | self._noise(index, number, student, data, source.dart.scale)

    def _phase2(self, index: int, driver: Checkpoint) -> dict[str, object]:
        phase2 = self._config.phase2
        tree: dict[str, object] = {
            "render_mode": phase2.render_mode,
            "episodes": phase2.rollouts,
            "min_steps": phase2.min_steps_of(index),
            "max_steps": phase2.max_steps,
        }
        if phase2.dart_scale is not None:
            data = self._folder.data(index - 1)
            return tree | {"drivers": [self._noise(index, 0, driver, data, phase2.dart_scale)]}
        options = {*PlanningConfig.model_fields, "device", "mixing"}
        student = phase2.model_dump(mode="json", include=options)
        return tree | {"student": student | {"checkpoint": str(driver.folder)}}

    def _noise(
        self, index: int, number: int, student: Checkpoint, data: Path, scale: float
    ) -> dict[str, object]:
        """Return a driver's noise, computed once: another machine would round it differently."""
        name = f"{index:03d}_noise_{number}"
        if not self._folder.yaml(name).exists():
            covariance = dart_covariance(student, data, scale)
            noise = {"noise_covariance": covariance, "noise_student": student.weights_sha256}
            self._folder.save_yaml(name, noise)
        return from_yaml(self._folder.yaml(name).read_text())
