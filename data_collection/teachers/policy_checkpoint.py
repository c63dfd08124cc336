"""Any policy that this project has trained, as a teacher: an expert, or a weaker one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from data_collection.teachers import Teacher, teachers
from trainer.acting import load_policy
from trainer.checkpoint import resolve_checkpoint
from trainer.distributed import choose_device
from trainer.environment import Environment, Observation
from trainer.planner import PolicyPlanner
from trainer.rollout import ActionError, RolloutJob, Slot
from trainer.schema import Device

_SEEDS = 2**62


@dataclass(frozen=True)
class _Episode:
    """A running episode: its queue and history, and the planner that decides for it alone."""

    slot: Slot
    planner: PolicyPlanner


@teachers.register("policy_checkpoint")
class PolicyCheckpoint(Teacher):
    """Acts with the acting weights of a checkpoint; its noise follows from the episode's seed.

    To be executed, a chunk may be followed for several steps. To label what somebody else does,
    leave ``execute_horizon`` at 1: then the answer is to the present observation.

    Args:
        root: The project root.
        path: A checkpoint folder, such as ``runs/…/epoch_40``, or a run's, for its newest one.
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
        self._episodes: dict[Environment, _Episode] = {}
        self.checkpoint = checkpoint.weights_sha256
        self.sees_pictures = bool(self._interface.cameras)
        self._new_planner()  # so that wrong options are refused now, not at the first step
        self.memoryless = (
            self._interface.obs_steps == 1
            and execute_horizon == 1
            and temporal_ensembling is None
            and not self._policy.initial_state(1)
        )

    def reset(self, environment: Environment) -> None:
        """Forget the plan, the history and the noise of the last episode there."""
        self._episodes.pop(environment, None)

    def act(
        self, environment: Environment, observation: Observation, generator: np.random.Generator
    ) -> np.ndarray:
        """Return the next action (A,).

        Raises:
            ConfigError: The environment does not fit the policy.
            ValueError: The policy gives an action that is not finite.
        """
        if environment not in self._episodes:
            self._episodes[environment] = self._begin(environment, observation, generator)
        slot, planner = self._episodes[environment].slot, self._episodes[environment].planner
        slot.history.append(observation)
        if not slot.planned:
            try:
                planner.plan([slot])
            except ActionError:  # the job that it names is none of the round's
                raise ValueError(
                    f"the policy checkpoint {self.checkpoint} gave an action that is not finite"
                ) from None
        slot.step += 1
        return slot.planned.popleft()

    def _begin(
        self, environment: Environment, observation: Observation, generator: np.random.Generator
    ) -> _Episode:
        planner = self._new_planner()
        planner.check([environment])
        slot = Slot(0, environment)
        slot.job = RolloutJob("teacher", seed=int(generator.integers(_SEEDS)))
        slot.history = deque([observation] * planner.obs_steps, maxlen=planner.obs_steps)
        slot.planned = deque()
        slot.interrupted = False
        slot.step = 0
        planner.reset(slot)
        return _Episode(slot, planner)

    def _new_planner(self) -> PolicyPlanner:
        ensembling = self._temporal_ensembling
        return PolicyPlanner(
            self._policy,
            self._interface,
            inference_batch=1,
            execute_horizon=self._execute_horizon,
            temporal_ensembling=ensembling,
        )
