"""The steps of a round: collect, train, evaluate. Each one, started again, goes on or is done."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import yaml

from data_collection.backend import Backend, LocalBackend
from data_collection.collect import collect_round, recorded_checkpoints
from data_collection.dagger.guard import clean_student
from data_collection.dagger.schema import DaggerConfig, SourceConfig
from data_collection.dart import dart_covariance
from data_collection.mixing import mixings
from data_collection.schema import CollectConfig
from trainer.acting import SavedPolicy
from trainer.build import load_experiment
from trainer.build_checks import check_best, check_planning
from trainer.checkpoint import Checkpoint, resolve_checkpoint
from trainer.config import (
    ROOT,
    Experiment,
    Loaded,
    as_overrides,
    config_differences,
    load_component_config,
    load_config,
)
from trainer.errors import ConfigError, UserError
from trainer.evaluate import evaluate
from trainer.evaluation import Evaluation
from trainer.files import write_text_atomically
from trainer.guard import DIVERGED
from trainer.registry import load_plugins
from trainer.schema import ComponentSpec, EvaluationConfig, PlanningConfig, RolloutConfig
from trainer.signature import check_spec
from trainer.yaml_file import to_yaml

_log = logging.getLogger(__name__)
_DIFFERS_BY_ROUND = tuple(
    f"experiment.{key}"
    for key in (
        "train.save_dir",
        "train.load_dir",
        "data.dataset.params.rounds",
        "evaluation.videos",  # trained is the same, whatever is filmed
    )
)
_GENERATED_PLUGIN = "data_collection.envs.generated_images"


class DaggerSteps:
    """What happens in the rounds of one experiment, in one folder.

    Every step is driven by a YAML of its own in ``configs/``, which could be run by hand.

    Args:
        loaded: The experiment.
        folder: Where it lives.
        backend: Who plays the rollouts and trains; by default this machine.
    """

    def __init__(
        self, loaded: Loaded[DaggerConfig], folder: Path, backend: Backend | None = None
    ) -> None:
        self.loaded = loaded
        self.backend = backend or LocalBackend()
        self.config = loaded.config
        self.folder = folder

    def check(self) -> None:
        """Look at what only later steps use, so that they need not stop hours from now.

        Raises:
            ConfigError: A mixing that does not exist, actions that cannot be planned so, or a best
                checkpoint by figures that these trainings do not have.
        """
        at, phase2 = self.loaded.under("phase2", "mixing"), self.config.phase2
        check_spec(mixings, phase2.mixing, at, {"round": 1, "root": self.loaded.root})
        experiment = self.experiment({"evaluation": self._evaluation_of_training()})
        check_best(experiment)
        chunk = experiment.config.interface.chunk
        check_planning(phase2, chunk, self.loaded.at("phase2"))
        check_planning(self.config.evaluation, chunk, self.loaded.at("evaluation"))

    def collect(self, index: int, driver: Checkpoint | None) -> Path:
        """Return the sealed round ``index``, driven by a student, or by teachers without one."""
        config = self._collect_config(index, driver)
        folder = collect_round(config, backend=self.backend, students=True)
        self._refuse_other_teacher(index)
        return folder

    def _refuse_other_teacher(self, index: int) -> None:
        """Raise ConfigError when a round's labels come from another file than the first round's."""
        first, now = (recorded_checkpoints(self.data(i)).get("teacher") for i in (0, index))
        if first != now:
            raise ConfigError(
                f"{self.data(index)} was labelled by another teacher (weights {now}) than "
                f"{self.data(0)} ({first}): its file has changed in between; put the old one back "
                f"and delete {self.data(index)}, or begin anew with --set save_dir=…"
            )

    def train(self, index: int, previous: Checkpoint | None) -> Checkpoint:
        """Return the checkpoint trained on all rounds up to ``index``.

        Should its weights not be finite, or training diverge, an earlier one takes its place.

        Raises:
            ConfigError: What is trained is not what earlier rounds trained.
            UserError: The trainer failed; its own message stands above.
        """
        train = self.config.train
        save_dir = self.folder / "train" / f"round_{index:03d}"
        settings: dict[str, object] = {
            "seed": self.config.seed,
            "train.save_dir": str(save_dir),
            "data.dataset.params.rounds": [str(self.data(i)) for i in range(index + 1)],
            "evaluation": self._evaluation_of_training(),
        }
        if previous is not None and train.start == "previous":
            settings["train.load_dir"] = str(previous.folder)
        experiment = self.experiment(settings)
        self._refuse_other_training(experiment)
        path = self._save_yaml(f"{index:03d}_train", self._rooted(experiment.resolved))
        try:
            self.backend.train(path, train.nproc_per_node)
        except UserError:
            note = save_dir / DIVERGED
            if not note.exists():
                raise
            _log.warning("%s; the newest clean student takes its place", note.read_text().strip())
        return clean_student(save_dir, previous)

    def evaluate(self, index: int, student: SavedPolicy) -> tuple[Evaluation, list[Path]]:
        """Return the figures of the student on the evaluation seeds, and the videos made."""
        config = self.config.evaluation
        filmed = config.video_every > 0 and index % config.video_every == 0
        rollout = config.model_dump(include=set(RolloutConfig.model_fields))
        return evaluate(
            student.policy,
            student.config.interface.to_interface(),
            self._evaluation_environment(),
            EvaluationConfig(every=1, videos=config.videos if filmed else 0, **rollout),
            at=self.loaded.under("environment"),
            root=self.loaded.root,
            episodes=config.episodes,
            seed=config.seed,
            video_folder=self.folder / "videos" / f"round_{index:03d}",
        )

    def _evaluation_environment(self) -> ComponentSpec:
        """Return the environment, with generated images where the evaluation asks for them."""
        evaluation, generated = self.config.evaluation, self.config.generated
        if evaluation.render_mode == "simulator" or generated is None:
            return self.config.environment
        params = generated.model_dump(mode="json")
        if evaluation.prompts is not None:
            params["prompts"] = evaluation.prompts
        inner = self.config.environment.model_dump(mode="json")
        load_plugins([_GENERATED_PLUGIN], self.loaded.root)
        return ComponentSpec(type="generated_images", params=params | {"environment": inner})

    def _evaluation_of_training(self) -> dict[str, object]:
        """Return how ``trainer/evaluate.py`` is to judge a student; training does not."""
        shared = set(EvaluationConfig.model_fields)
        settings = self.config.evaluation.model_dump(mode="json", include=shared)
        environment = self._evaluation_environment()
        plugins = list(self.config.plugins)
        if environment != self.config.environment:
            plugins.append(_GENERATED_PLUGIN)
        return settings | {
            "plugins": plugins,
            "environment": environment.model_dump(mode="json"),
            "every": None,
        }

    def _refuse_other_training(self, experiment: Experiment) -> None:
        """Raise ConfigError when the experiment or a component is not the first round's."""
        paths = experiment.config.model.component_config_paths
        components = {
            name: load_component_config(experiment, name, path).config.model_dump(mode="json")
            for name, path in paths.items()
        }
        now: dict[str, object] = {"experiment": dict(experiment.resolved), "components": components}
        path = self.folder / "configs" / "training.yaml"
        if not path.exists():
            self._save_yaml(path.stem, now)
            return
        differences = config_differences(yaml.safe_load(path.read_text()), now, _DIFFERS_BY_ROUND)
        if differences:
            lines = "\n  ".join(differences)
            raise ConfigError(
                f"{self.config.train.config} or a component of it has changed since the experiment "
                f"began:\n  {lines}\nput these values back, or choose a new folder with --set "
                "save_dir=…"
            )

    def data(self, index: int) -> Path:
        """Return the folder of a round's episodes."""
        return self.folder / "data" / f"round_{index:03d}"

    def experiment(self, settings: Mapping[str, object]) -> Experiment:
        """Return the experiment that is trained, with the user's overrides and then these."""
        train = self.config.train
        overrides = as_overrides({**train.set, **settings})
        try:
            return load_experiment(self.loaded.root / train.config, overrides)
        except ConfigError as error:
            lines = [self._of_train_set(line) for line in str(error).splitlines()]
            raise ConfigError("\n".join(lines)) from error

    def _of_train_set(self, line: str) -> str:
        """Return a message as it is, or, of what ``train.set`` says, with the place of that."""
        source, *rest = line.split(": ", maxsplit=1)
        key = source.removeprefix("--set ")
        if source == key or key not in self.config.train.set:
            return line
        return ": ".join([self.loaded.at("train", "set"), *(rest or [key])])

    # ---- the YAML of a round's collection --------------------------------------------------------

    def _collect_config(self, index: int, driver: Checkpoint | None) -> Loaded[CollectConfig]:
        config, labels = self.config, self.config.phase2.labels
        tree: dict[str, object] = {
            "plugins": list(config.plugins),
            "save_dir": str(self.folder / "data"),
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
            "labels": labels.model_dump(mode="json") | {"horizon": labels.horizon or self._chunk()},
        }
        tree |= self._phase1(index) if driver is None else self._phase2(index, driver)
        path = self._save_yaml(f"{index:03d}_collect", self._rooted(tree))
        return load_config(path, CollectConfig)

    def _phase1(self, index: int) -> dict[str, object]:
        phase1 = self.config.phase1
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
        root, dart = self.loaded.root, source.dart
        student = resolve_checkpoint(root / Path(dart.student).expanduser())
        data = root / Path(dart.data).expanduser()
        return tree | self._noise(index, number, student, data, dart.scale)

    def _noise(
        self, index: int, number: int, student: Checkpoint, data: Path, scale: float
    ) -> dict[str, object]:
        """Return a driver's noise, computed once: another machine would round it differently."""
        path = self.folder / "configs" / f"{index:03d}_noise_{number}.yaml"
        if not path.exists():
            covariance = dart_covariance(student, data, scale)
            self._save_yaml(path.stem, {"noise_covariance": covariance})
        return yaml.safe_load(path.read_text())

    def _phase2(self, index: int, driver: Checkpoint) -> dict[str, object]:
        phase2 = self.config.phase2
        tree: dict[str, object] = {
            "render_mode": phase2.render_mode,
            "episodes": phase2.rollouts,
            "min_steps": phase2.min_steps_of(index),
            "max_steps": phase2.max_steps,
        }
        if phase2.dart_scale is not None:
            noise = self._noise(index, 0, driver, self.data(index - 1), phase2.dart_scale)
            return tree | {"drivers": [noise]}
        options = {*PlanningConfig.model_fields, "device", "mixing"}
        student = phase2.model_dump(mode="json", include=options)
        return tree | {"student": student | {"checkpoint": str(driver.folder)}}

    def _chunk(self) -> int:
        """Return the length of the student's action chunks."""
        return self.experiment({}).config.interface.chunk

    def _rooted(self, tree: Mapping[str, object]) -> dict[str, object]:
        """Return what a YAML says, and to which project root its paths are relative."""
        return {ROOT: str(self.loaded.root), **tree}

    def _save_yaml(self, name: str, tree: Mapping[str, object]) -> Path:
        path = self.folder / "configs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, to_yaml(tree))
        return path
