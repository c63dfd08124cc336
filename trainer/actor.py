"""Acting with a trained policy from one's own code: a robot, another simulator, a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from trainer.acting import load_policy
from trainer.checkpoint import resolve_checkpoint
from trainer.distributed import choose_device
from trainer.environment import IMAGE_PREFIX, Interface, Observation
from trainer.errors import UserError
from trainer.interfaces import TASK, Policy
from trainer.planner import PolicyPlanner
from trainer.rollout import PlannedEpisode, RolloutJob
from trainer.schema import Device, EvaluationConfig


class ObservationError(UserError):
    """An observation is not what the policy was trained with; it was not used."""


class Actor:
    """Answers each observation with the next action, as the policy does in an evaluation.

    Attributes:
        interface: What the policy sees and does, and how often (``control_hz``).
        planner: Decides; ``planner.shapes`` has the key and the shape of all that it sees.

    Args:
        policy: Ready to act.
        interface: The sizes that it was trained with.
        inference_batch: Rows of every forward; only the first one is used.
        execute_horizon: See ``PolicyPlanner``.
        temporal_ensembling: See ``PolicyPlanner``.

    Raises:
        ConfigError: The settings contradict each other or the interface.
    """

    def __init__(
        self,
        policy: Policy,
        interface: Interface,
        *,
        inference_batch: int = 1,
        execute_horizon: int | None = None,
        temporal_ensembling: float | None = None,
    ) -> None:
        self.interface = interface
        self.planner = PolicyPlanner(
            policy,
            interface,
            inference_batch=inference_batch,
            execute_horizon=execute_horizon,
            temporal_ensembling=temporal_ensembling,
        )
        self._episode = PlannedEpisode(0)
        self._waiting: RolloutJob | None
        self.reset()

    @classmethod
    def load(
        cls,
        path: Path | str,
        device: Device = "cpu",
        *,
        execute_horizon: int | None = None,
        temporal_ensembling: float | None = None,
        inference_batch: int | None = None,
        overrides: Sequence[str] = (),
    ) -> Actor:
        """Return the actor of a checkpoint; without further arguments it acts as in evaluation.

        Args:
            path: A checkpoint folder, such as ``runs/…/epoch_40``, a run's, for its newest one, or
                ``runs/…/best``.
            device: Where the policy runs.
            execute_horizon: Steps of each chunk to follow before deciding again.
            temporal_ensembling: Decide at every step and average; see ``PolicyPlanner``. Where
                neither of the two is given, both are as the experiment's evaluation has them.
            inference_batch: Rows of every forward. None: as in the experiment's evaluation, whose
                actions are then met to the bit; 1 is fastest, and may differ in the last bits.
            overrides: Other values below ``evaluation`` and ``policy.params``, as ``--set`` gives
                them: ``policy.params.flow.num_steps=2``.

        Raises:
            CheckpointError: There is no whole checkpoint at ``path``.
            ConfigError: The settings do not fit the policy, or its plugins cannot be loaded.
        """
        checkpoint = resolve_checkpoint(Path(path).expanduser())
        saved = load_policy(checkpoint, choose_device(device), overrides)
        evaluation = saved.config.evaluation or EvaluationConfig(every=None)
        if execute_horizon is None and temporal_ensembling is None:
            execute_horizon = evaluation.execute_horizon
            temporal_ensembling = evaluation.temporal_ensembling
        return cls(
            saved.policy,
            saved.config.interface.to_interface(),
            inference_batch=inference_batch or evaluation.inference_batch,
            execute_horizon=execute_horizon,
            temporal_ensembling=temporal_ensembling,
        )

    def reset(self, seed: int = 0) -> None:
        """Begin an episode: no history, plan or memory, and the noise of ``seed``."""
        self._waiting = RolloutJob(f"seed {seed}", seed)

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the next action (A,), in real units; call it once a control period.

        Args:
            observation: The newest: ``observation.state`` (S,), ``observation.images.<camera>``
                (3, H, W) uint8 for each camera, ``task`` () for a policy that is told it.

        Raises:
            ObservationError: Something is missing, of another shape or kind, or not finite. The
                episode goes on with the next observation as if this one had not been.
            ActionError: The policy gives an action that is not finite.
        """
        seen = self._checked(observation)
        if self._waiting is None:
            self._episode.history.append(seen)
        else:
            self._episode.begin(self._waiting, seen, self.planner.obs_steps)
            self.planner.reset(self._episode)
            self._waiting = None
        if not self._episode.planned:
            self.planner.plan([self._episode])
        self._episode.step += 1
        return self._episode.planned.popleft()

    def _checked(self, observation: Mapping[str, np.ndarray]) -> Observation:
        """Return copies of what the policy sees: drivers of cameras and robots reuse buffers."""
        seen: Observation = {}
        problems: list[str] = []
        for key, shape in self.planner.shapes.items():
            if key not in observation:
                problems.append(f"{key} {shape} is missing (given: {sorted(observation)})")
                continue
            seen[key] = np.array(observation[key])
            problems += _problems(key, shape, seen[key])
        if problems:
            raise ObservationError(f"the policy cannot act on this: {'; '.join(problems)}")
        return seen


def _problems(key: str, shape: tuple[int, ...], value: np.ndarray) -> list[str]:
    """Return what is wrong with one part of an observation, in words."""
    if value.shape != shape:
        return [f"{key}: expected shape {shape}, got {value.shape}"]
    if key.startswith(IMAGE_PREFIX):
        return [] if value.dtype == np.uint8 else [f"{key}: expected uint8, got {value.dtype}"]
    kinds, wanted = ("iu", "an integer") if key == TASK else ("iuf", "numbers")
    if value.dtype.kind not in kinds:
        return [f"{key}: expected {wanted}, got {value.dtype}"]
    wrong = np.flatnonzero(~np.isfinite(value))
    return [f"{key}: not finite at {wrong.tolist()}"] if wrong.size else []
