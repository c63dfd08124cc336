"""The steps of a round: collect, train, evaluate. Each one, started again, goes on or is done."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from data_collection.backend import Backend, LocalBackend
from data_collection.collect import collect_round, recorded_checkpoints
from data_collection.dagger.collect_yaml import CollectYaml
from data_collection.dagger.folder import ExperimentFolder
from data_collection.dagger.guard import clean_student
from data_collection.dagger.schema import DaggerConfig
from data_collection.mixing import mixings
from data_collection.prompts import load_prompts
from data_collection.schema import CollectConfig
from trainer.acting import SavedPolicy
from trainer.build import load_experiment
from trainer.build_checks import check_best, check_planning
from trainer.checkpoint import Checkpoint
from trainer.config import (
    ROOT,
    Experiment,
    Loaded,
    as_overrides,
    config_differences,
    load_component_config,
    load_config,
)
from trainer.distributed import choose_device
from trainer.errors import ConfigError, UserError
from trainer.evaluate import evaluate
from trainer.evaluation import Evaluation
from trainer.guard import DIVERGED
from trainer.registry import load_plugins
from trainer.schema import ComponentSpec, EvaluationConfig, ExperimentConfig, RolloutConfig
from trainer.signature import check_spec
from trainer.yaml_file import from_yaml

_log = logging.getLogger(__name__)
_DIFFERS_BY_ROUND = (
    "train.save_dir",
    "train.load_dir",
    "data.dataset.params.rounds",
    "evaluation.videos",  # trained is the same, whatever is filmed
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
        self.folder = ExperimentFolder(folder)
        self._collect_yaml = CollectYaml(loaded, self.folder)

    def check(self) -> None:
        """Look at what only later steps use, so that they need not stop hours from now.

        Raises:
            ConfigError: A mixing that does not exist, actions that cannot be planned so, a best
                checkpoint by figures that these trainings do not have, prompts that cannot be
                read, or a device that is not there.
        """
        at, phase2 = self.loaded.under("phase2", "mixing"), self.config.phase2
        check_spec(mixings, phase2.mixing, at, {"round": 1, "root": self.loaded.root})
        experiment = self.experiment({"evaluation": self._evaluation_of_training()})
        check_best(experiment)
        chunk = experiment.config.interface.chunk
        check_planning(phase2, chunk, self.loaded.at("phase2"))
        check_planning(self.config.evaluation, chunk, self.loaded.at("evaluation"))
        generated, evaluation = self.config.generated, self.config.evaluation
        for prompts in (generated.prompts if generated else None, evaluation.prompts):
            if prompts is not None:
                load_prompts(self.loaded.root / Path(prompts).expanduser())
        if isinstance(self.backend, LocalBackend) and self.config.n_rounds:
            choose_device(phase2.device)

    def collect(self, index: int, driver: Checkpoint | None) -> Path:
        """Return the sealed round ``index``, driven by a student, or by teachers without one."""
        chunk = self.experiment({}).config.interface.chunk
        config = load_config(self._collect_yaml.save(index, driver, chunk), CollectConfig)
        folder = collect_round(config, backend=self.backend, students=True)
        self._refuse_other_teacher(index)
        return folder

    def _refuse_other_teacher(self, index: int) -> None:
        """Raise ConfigError when a round's labels come from another file than the first round's."""
        begun, folder = self.folder.data(0), self.folder.data(index)
        first, now = (recorded_checkpoints(data).get("teacher") for data in (begun, folder))
        if first != now:
            raise ConfigError(
                f"{folder} was labelled by another teacher (weights {now}) than {begun} ({first}): "
                f"its file has changed in between; put the old one back and delete {folder}, or "
                "begin anew with --set save_dir=…"
            )

    def train(self, index: int, previous: Checkpoint | None) -> Checkpoint:
        """Return the checkpoint trained on all rounds up to ``index``.

        Should its weights not be finite, or training diverge, an earlier one takes its place.

        Raises:
            ConfigError: What is trained is not what earlier rounds trained.
            UserError: The trainer failed; its own message stands above.
        """
        train = self.config.train
        save_dir = self.folder.training(index)
        settings: dict[str, object] = {
            "seed": self.config.seed,
            "train.save_dir": str(save_dir),
            "data.dataset.params.rounds": [str(self.folder.data(i)) for i in range(index + 1)],
            "evaluation": self._evaluation_of_training(),
        }
        if previous is not None and train.start == "previous":
            settings["train.load_dir"] = str(previous.folder)
        experiment = self.experiment(settings)
        self._refuse_other_training(experiment)
        tree = {ROOT: str(self.loaded.root), **experiment.resolved}
        path = self.folder.save_yaml(_train_yaml(index), tree)
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
            video_folder=self.folder.videos(index),
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
        components: dict[str, object] = {
            name: load_component_config(experiment, name, path).config.model_dump(mode="json")
            for name, path in paths.items()
        }
        first, parts = self.folder.yaml(_train_yaml(0)), self.folder.yaml("components")
        if not first.exists() or not parts.exists():
            self.folder.save_yaml(parts.stem, components)
            return
        # Read with the schema's defaults: it does not name keys that are newer than itself.
        saved = load_config(first, ExperimentConfig).resolved
        differences = config_differences(saved, experiment.resolved, _DIFFERS_BY_ROUND)
        of_parts = from_yaml(parts.read_text())
        differences += config_differences({"components": of_parts}, {"components": components})
        if differences:
            lines = "\n  ".join(differences)
            raise ConfigError(
                f"{self.config.train.config} or a component of it has changed since the experiment "
                f"began:\n  {lines}\nput these values back, or choose a new folder with --set "
                "save_dir=…"
            )

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


def _train_yaml(index: int) -> str:
    return f"{index:03d}_train"
