"""Everybody who takes part in the episodes of a round: environments, teacher, drivers, student."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from data_collection.episode_buffer import EpisodeArrays
from data_collection.episodes import EpisodeAttributes
from data_collection.labelling import ChunkLabeller, check_restorable
from data_collection.mixing import Mixing, mixings
from data_collection.rendering.generators import Generator, generators
from data_collection.rollout import Driver, EpisodeHooks
from data_collection.schema import CollectConfig
from data_collection.teachers import teachers
from trainer.config import Loaded
from trainer.environment import Environment
from trainer.errors import ConfigError
from trainer.registry import environments, load_plugins
from trainer.rollout import EpisodeResult, RolloutJob, rollout
from trainer.signature import build


class Cast:
    """Plays jobs of a round; what an episode holds depends on the round's config and its job.

    Args:
        loaded: The round's configuration.
        slots: Environments to step in turn.
        generator: Makes the pictures of a round that has generated ones, in the place of the
            configured generator: one that lives elsewhere, say.

    Raises:
        ConfigError: A component cannot be built, or they do not fit each other.
        CheckpointError: The student's checkpoint is missing or damaged.
    """

    def __init__(
        self, loaded: Loaded[CollectConfig], slots: int, generator: Generator | None = None
    ) -> None:
        config = loaded.config
        load_plugins(config.plugins, loaded.root, loaded.under("plugins"))
        self.config = config
        self.environments = _environments(loaded, slots, generator)
        self.teacher = build(
            teachers, config.teacher, loaded.under("teacher"), {"root": loaded.root}
        )
        self._drivers = [self._driver(loaded, i) for i in range(len(config.drivers))]
        self._student = _Student(loaded) if config.student else None
        if self._student and slots > 1:
            self._student.planner.check_rows()
        self._labeller = self._chunk_labeller(loaded)
        leaves_its_path = self._student is not None or any(
            d.teacher is not self.teacher or (self._labeller and d.noise is not None)
            for d in self._drivers
        )
        if leaves_its_path and not self.teacher.memoryless:
            raise ConfigError(
                f"{loaded.at('teacher')}: {config.teacher.type} remembers earlier steps, so it can "
                "only label its own path, undisturbed; for a policy_checkpoint use "
                "execute_horizon: 1"
            )

    def play(
        self,
        jobs: Iterable[RolloutJob],
        on_episode: Callable[[EpisodeResult, EpisodeArrays], None],
    ) -> None:
        """Play the jobs, handing every finished episode over."""
        hooks = EpisodeHooks(
            self.teacher,
            driver_of=self._driver_of,
            mixing=self._student.mixing if self._student else None,
            labeller=self._labeller,
            label_every=self.config.labels.every,
            on_episode=on_episode,
            recording=self.config.recording,
        )
        planner = self._student.planner if self._student else None
        for _ in rollout(
            self.environments,
            jobs,
            planner=planner,
            hooks=hooks,
            max_steps=self.config.max_steps,
            stop_on_success=self.config.stop_on_success,
        ):
            pass  # on_episode has seen to it

    def attributes(self, result: EpisodeResult) -> EpisodeAttributes:
        """Return what the manifest says of an episode beside its arrays."""
        job = RolloutJob(result.id, result.seed)
        driver = self._driver_of(job).teacher
        phase, student = self._phase(job)
        return EpisodeAttributes(
            seed=result.seed,
            success=result.success,
            phase=phase,
            round=self.config.round,
            teacher_checkpoint=self.teacher.checkpoint,
            student_checkpoint=student,
            driver_checkpoint=driver.checkpoint if driver not in (None, self.teacher) else None,
            prompt=self.environments[0].prompt_of(result.seed),
        )

    def checkpoints(self) -> dict[str, str]:
        """Return the SHA-256 of all files that they act from, under who is who."""
        who = {"teacher": self.teacher.checkpoint}
        for index, driver in enumerate(self._drivers):
            if driver.teacher not in (None, self.teacher):
                who[f"drivers[{index}]"] = driver.teacher.checkpoint
        if self._student:
            who["student"] = self._student.checkpoint
            decides = self._student.mixing.checkpoints()
            who |= {f"mixing.{name}": sha256 for name, sha256 in decides.items()}
        return {name: sha256 for name, sha256 in who.items() if sha256 is not None}

    @property
    def labelling_seconds(self) -> float:
        """Return the time spent on label chunks so far."""
        return self._labeller.seconds if self._labeller else 0.0

    def close(self) -> None:
        """Close the environments."""
        for environment in self.environments:
            environment.close()

    def _phase(self, job: RolloutJob) -> tuple[str, str | None]:
        """Return how a job's episode is driven, and the weights of the student that has a part."""
        if self._student:
            return "on_policy", self._student.checkpoint
        driver = self.config.drivers[self.config.driver_of(job)]
        disturbed = driver.noise_covariance is not None
        return "dart" if disturbed else "teacher", driver.noise_student

    def _driver_of(self, job: RolloutJob) -> Driver:
        if self._student:
            return Driver(teacher=None)
        return self._drivers[self.config.driver_of(job)]

    def _driver(self, loaded: Loaded[CollectConfig], index: int) -> Driver:
        driver = self.config.drivers[index]
        try:
            noise = driver.noise_factor(self.environments[0].action_dim)
        except ValueError as error:
            raise ConfigError(f"{loaded.at('drivers', index)}: {error}") from error
        if driver.teacher is None:
            return Driver(self.teacher, noise)
        at = loaded.under("drivers", index, "teacher")
        return Driver(build(teachers, driver.teacher, at, {"root": loaded.root}), noise)

    def _chunk_labeller(self, loaded: Loaded[CollectConfig]) -> ChunkLabeller | None:
        labels = self.config.labels
        horizon = labels.horizon or (self._student.chunk if self._student else None)
        if labels.relabel == "stepwise" or horizon == 1:
            return None
        if horizon is None:
            raise ConfigError(
                f"{loaded.at('labels', 'horizon')}: relabel: rollout needs to know how many steps "
                "a label chunk has; give the policy's interface.chunk"
            )
        if self.teacher.sees_pictures:
            raise ConfigError(
                f"{loaded.at('teacher')}: {self.config.teacher.type} decides by camera images, "
                "which are off while a teacher acts ahead for labels.relabel: rollout; label with "
                "a teacher that knows the state, or use relabel: stepwise and a policy with "
                "interface.chunk: 1"
            )
        check_restorable(self.environments)
        return ChunkLabeller(self.teacher, horizon=horizon)


def _environments(
    loaded: Loaded[CollectConfig], slots: int, generator: Generator | None
) -> list[Environment]:
    """Return the environments of the slots; one generator serves all of them."""
    config, supplied = loaded.config, {"root": loaded.root}
    plain = [
        build(environments, config.environment, loaded.under("environment"), supplied)
        for _ in range(slots)
    ]
    if config.render_mode == "simulator" or config.generated is None:
        return plain
    # Imported here: it knows MuJoCo, which not everybody needs who collects.
    from data_collection.envs.repainted import Repainted

    if generator is None:
        at = loaded.under("generated", "generator")
        generator = build(generators, config.generated.generator, at, supplied)
    try:
        return [Repainted(each, config.generated, generator, loaded.root) for each in plain]
    except ConfigError as error:
        raise ConfigError(f"{loaded.at('generated')}: {error}") from error


class _Student:
    """The policy that drives, and what mixes it with the teacher."""

    def __init__(self, loaded: Loaded[CollectConfig]) -> None:
        # Imported here: rounds in which an expert alone drives start without torch.
        from trainer.acting import load_policy
        from trainer.checkpoint import resolve_checkpoint
        from trainer.distributed import choose_device
        from trainer.planner import PolicyPlanner

        config = loaded.config.student
        if config is None:
            raise ConfigError(f"{loaded.at('student')}: no student is given")
        checkpoint = resolve_checkpoint(loaded.root / Path(config.checkpoint).expanduser())
        saved = load_policy(checkpoint, choose_device(config.device))
        interface = saved.config.interface.to_interface()
        self.chunk = interface.chunk
        self.checkpoint = checkpoint.weights_sha256
        self.planner = PolicyPlanner(
            saved.policy,
            interface,
            inference_batch=config.inference_batch,
            execute_horizon=config.execute_horizon,
            temporal_ensembling=config.temporal_ensembling,
        )
        self.mixing: Mixing = build(
            mixings,
            config.mixing,
            loaded.under("student", "mixing"),
            {"round": loaded.config.round, "root": loaded.root},
        )
