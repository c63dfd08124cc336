"""Any policy that this project has trained, as a teacher: an expert, or a weaker one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from data_collection.teachers import Teacher, teachers
from trainer.acting import load_policy
from trainer.actor import Actor, ObservationError
from trainer.checkpoint import resolve_checkpoint
from trainer.distributed import choose_device
from trainer.environment import Environment, Observation
from trainer.rollout import ActionError
from trainer.schema import Device

_SEEDS = 2**62


@teachers.register("policy_checkpoint")
class PolicyCheckpoint(Teacher):
    """Acts with the acting weights of a checkpoint; its noise follows from the episode's seed.

    To be executed, a chunk may be followed for several steps. To label what somebody else does,
    leave ``execute_horizon`` at 1: then the answer is to the present observation.

    Args:
        root: The project root.
        path: A checkpoint folder, such as ``runs/…/epoch_40``, a run's, for its newest one, or
            ``runs/…/best``.
        execute_horizon: Steps of each chunk to follow before deciding again.
        temporal_ensembling: See ``trainer.planner.PolicyPlanner``.
        device: Where the policy runs.

    Raises:
        CheckpointError: There is no whole checkpoint at ``path``.
        ConfigError: The options do not fit the policy, or its plugins cannot be loaded.
    """

    def __init__(
        self,
        root: Path,
        *,
        path: str,
        execute_horizon: PositiveInt = 1,
        temporal_ensembling: PositiveFloat | None = None,
        device: Device = "cpu",
    ) -> None:
        checkpoint = resolve_checkpoint(root / Path(path).expanduser())
        saved = load_policy(checkpoint, choose_device(device))
        self._policy = saved.policy
        self._interface = saved.config.interface.to_interface()
        self._execute_horizon = execute_horizon
        self._temporal_ensembling = temporal_ensembling
        self._actors: dict[Environment, Actor] = {}
        """One for each running episode."""
        self.checkpoint = checkpoint.weights_sha256
        self.sees_pictures = bool(self._interface.cameras)
        self._new_actor()  # so that wrong options are refused now, not at the first step
        self.memoryless = (
            self._interface.obs_steps == 1
            and execute_horizon == 1
            and temporal_ensembling is None
            and not self._policy.initial_state(1)
        )

    def reset(self, environment: Environment) -> None:
        """Forget the plan, the history and the noise of the last episode there."""
        self._actors.pop(environment, None)

    def act(
        self, environment: Environment, observation: Observation, generator: np.random.Generator
    ) -> np.ndarray:
        """Return the next action (A,).

        Raises:
            ConfigError: The environment does not fit the policy.
            ValueError: The observation or the policy's action is not finite.
        """
        if environment not in self._actors:
            actor = self._new_actor()
            actor.planner.check([environment])
            actor.reset(int(generator.integers(_SEEDS)))
            self._actors[environment] = actor
        try:
            return self._actors[environment].act(observation)
        except (ObservationError, ActionError) as error:  # of this episode, not of the user
            raise ValueError(f"the policy checkpoint {self.checkpoint}: {error}") from None

    def _new_actor(self) -> Actor:
        return Actor(
            self._policy,
            self._interface,
            execute_horizon=self._execute_horizon,
            temporal_ensembling=self._temporal_ensembling,
        )
