"""Where a distillation takes place: environment, observations, teacher; all checked beforehand.

Shape legend: N environments, S what the student sees, P what the teacher sees, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from data_collection.distillation.acting_student import ActingStudent
from data_collection.distillation.schema import DistillConfig
from data_collection.distillation.student_evaluation import Performance, play
from data_collection.distillation.teachers import VectorTeacher, vector_teachers
from data_collection.distillation.vec_env import ObservationSet, VecEnv, vector_environments
from trainer.config import Loaded
from trainer.distributed import Ranks
from trainer.errors import ConfigError
from trainer.interfaces import Interface, Policy
from trainer.registry import load_plugins
from trainer.seeding import stream_seed
from trainer.signature import build


@dataclass(frozen=True)
class Setting:
    """What the student is put into."""

    env: VecEnv
    teacher: VectorTeacher
    sees: ObservationSet
    """What the student sees."""
    knows: ObservationSet
    """What the teacher sees."""
    evaluation_env: Callable[[], VecEnv]
    """Makes the environments of the evaluation, always with the same episodes."""

    def play_teacher(self) -> Performance:
        """Return how the teacher does in the evaluation's episodes."""
        return play(self.evaluation_env(), self.knows, lambda known_np, _: self.teacher(known_np))

    def play_student(self, policy: Policy, interface: Interface) -> Performance:
        """Return how the student does alone in the same episodes."""
        env = self.evaluation_env()
        device = torch.device(env.device)
        generator = torch.Generator(device).manual_seed(0)
        student = ActingStudent(policy, interface, env.num_envs, generator, device)

        def act(seen_ns: Tensor, begins_n: Tensor) -> Tensor:
            student.observe(seen_ns, begins_n)
            return student.act()

        return play(env, self.sees, act)


def make_setting(loaded: Loaded[DistillConfig], ranks: Ranks, env: VecEnv | None = None) -> Setting:
    """Return environment and teacher of a configuration, after making sure that all fits.

    Args:
        loaded: The configuration.
        ranks: Whose environments; each rank has its own, with a seed of its own.
        env: Takes the place of the configuration's environment.

    Raises:
        ConfigError: There is no teacher, or sizes or observation groups do not fit.
        CheckpointError: The teacher's checkpoint is missing or is not one.
    """
    config = loaded.config
    load_plugins(config.simulation_plugins, loaded.root, loaded.under("simulation_plugins"))
    if config.teacher is None:
        raise ConfigError(
            f"{loaded.at('teacher')}: there is no teacher; name one (teacher: {{type: …}}) or pass "
            "--checkpoint FILE: distilling a network of random weights would run without complaint "
            "and teach nothing"
        )
    if env is not None and config.evaluation is not None:
        raise ConfigError(
            f"{loaded.at('evaluation')}: the environment was passed in, but the evaluation would "
            f"play in one of the configuration's ({config.environment.type}), hence in another; "
            "set evaluation: null"
        )
    teacher = build(
        vector_teachers,
        config.teacher,
        loaded.under("teacher"),
        {"root": loaded.root, "device": ranks.device},
    )
    seed = stream_seed(config.seed, "environment", ranks.rank)
    own = env or _environment(loaded, ranks.device, config.num_envs, seed)
    observations = own.get_observations()
    sees, knows = (
        ObservationSet(groups, observations, loaded.at("observations", name))
        for name, groups in config.observations.model_dump().items()
    )
    _check_environment(own, sees, loaded, ranks.device)
    teacher.check(knows.size, own.num_actions, loaded.at("teacher"))

    def evaluation_env() -> VecEnv:
        evaluation = config.evaluation
        if evaluation is None:
            raise ConfigError(f"{loaded.at('evaluation')}: none is configured")
        return _environment(loaded, ranks.device, evaluation.num_envs, evaluation.seed)

    return Setting(own, teacher, sees, knows, evaluation_env)


def _environment(
    loaded: Loaded[DistillConfig], device: torch.device, num_envs: int, seed: int
) -> VecEnv:
    supplied = {"num_envs": num_envs, "device": device, "seed": seed, "root": loaded.root}
    return build(
        vector_environments, loaded.config.environment, loaded.under("environment"), supplied
    )


def _check_environment(
    env: VecEnv, sees: ObservationSet, loaded: Loaded[DistillConfig], device: torch.device
) -> None:
    config = loaded.config
    for path, wanted, given, what in (
        (("num_envs",), config.num_envs, env.num_envs, "environments"),
        (("interface", "state"), config.interface.state, sees.size, "numbers for the student"),
        (("interface", "action"), config.interface.action, env.num_actions, "actions"),
    ):
        if wanted != given:
            raise ConfigError(
                f"{loaded.at(*path)}: expected {given}, got {wanted}: the environment has {given} "
                f"{what}"
            )
    if torch.device(env.device).type != device.type:
        raise ConfigError(
            f"{loaded.at('train', 'device')}: the student is trained on {device}, but the "
            f"environment is on {env.device}"
        )
