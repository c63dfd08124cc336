"""A policy's decisions for the slots of a rollout: one forward at a fixed, padded batch size.

Row i of the batch belongs to slot i; rows without an episode hold zeros. A fixed batch size makes
an episode's actions independent, to the bit, of how many other episodes run beside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from trainer.errors import ConfigError
from trainer.interfaces import IMAGE_PREFIX, STATE, TASK, Batch, Environment, Interface, Policy
from trainer.rollout import ActionError, PlannedEpisode
from trainer.seeding import stream_seed

_DTYPES = {STATE: np.float32, TASK: np.int64}
"""Of what is observed; pictures are uint8."""


class PolicyPlanner:
    """Plans with a policy: executes ``execute_horizon`` steps of each chunk, or ensembles chunks.

    Args:
        policy: Decides; its training mode and the process' random state are left as they are.
        interface: The sizes the policy was trained with; only its keys are shown to the policy.
        inference_batch: Rows of every forward; at most as many slots can run at once.
        execute_horizon: Steps of a chunk to execute before deciding again (None: all of them).
        temporal_ensembling: Decide at every step and average all chunks that speak about it, with
            weights ``exp(-m * i)``, i = 0 the oldest (Zhao et al. 2023, ACT, Algorithm 2).

    Raises:
        ConfigError: The settings contradict each other or the interface.
    """

    def __init__(
        self,
        policy: Policy,
        interface: Interface,
        *,
        inference_batch: int = 16,
        execute_horizon: int | None = None,
        temporal_ensembling: float | None = None,
    ) -> None:
        horizon = executed_steps(interface.chunk, execute_horizon, temporal_ensembling)
        self.obs_steps = interface.obs_steps
        self._policy = policy
        self._interface = interface
        self._horizon = horizon
        self._decay = temporal_ensembling
        self.shapes = {STATE: (interface.state,)} | {
            IMAGE_PREFIX + name: tuple(shape) for name, shape in interface.cameras.items()
        }
        """Of each key that the policy is shown, without B and To."""
        if TASK in policy.needs:
            self.shapes[TASK] = ()
        self._device = next((p.device for p in policy.parameters()), torch.device("cpu"))
        self._generators = [torch.Generator().manual_seed(0) for _ in range(inference_batch)]
        self._chunks: list[deque[np.ndarray]] = [
            deque(maxlen=interface.chunk) for _ in range(inference_batch)
        ]
        with acting(policy):
            self._fresh_state = policy.initial_state(inference_batch)
        self._state = {key: rows.clone() for key, rows in self._fresh_state.items()}

    def check(self, environments: Sequence[Environment]) -> None:
        """Raise ConfigError when the environments do not fit the policy or its batch."""
        if len(environments) > len(self._generators):
            raise ConfigError(
                f"{len(environments)} environments need an inference_batch of at least as many, "
                f"got {len(self._generators)}"
            )
        for environment in environments[:1]:
            shapes = environment.observation_shapes
            for key, shape in self.shapes.items():
                if key not in shapes:
                    raise ConfigError(
                        f"the policy wants {key} {shape}; the environment gives {sorted(shapes)}"
                    )
                if tuple(shapes[key]) != shape:
                    raise ConfigError(
                        f"{key}: the policy wants shape {shape}, the environment gives "
                        f"{tuple(shapes[key])}"
                    )
            for name, wanted, given in (
                ("action", self._interface.action, environment.action_dim),
                ("control_hz", self._interface.control_hz, environment.control_hz),
            ):
                if not np.isclose(wanted, given):
                    raise ConfigError(
                        f"interface.{name}: the policy has {wanted:g}, the environment {given:g}"
                    )

    def check_rows(self) -> None:
        """Raise ConfigError when the last bits of an action depend on the row of its slot.

        Then they would depend on what else is played, and when: fast kernels treat rows of some
        widths unlike others, as for layers whose inputs do not begin at multiples of 16 bytes.
        """
        rows, random = len(self._generators), np.random.default_rng(0)
        batch: dict[str, Tensor] = {}
        for key, shape in self.shapes.items():
            row = random.random((1, self.obs_steps, *shape)) * (1 if key in _DTYPES else 256)
            drawn = torch.from_numpy(row.astype(_DTYPES.get(key, np.uint8)))
            batch[key] = drawn.repeat_interleave(rows, dim=0).to(self._device)
        if TASK in batch:
            batch[TASK] = batch[TASK][:, -1]
        noise = [torch.Generator().manual_seed(0) for _ in range(rows)]
        with acting(self._policy):
            action_bha, _ = self._policy.predict_action(batch, self._fresh_state, noise)
        if not torch.equal(action_bha, action_bha[:1].expand_as(action_bha)):
            raise ConfigError(
                "the last bits of this policy's actions depend on the row of a batch in which it "
                "decides, so episodes would depend on which of them run beside each other; use "
                "environments_per_worker: 1, or layers whose widths are multiples of 4"
            )

    def reset(self, slot: PlannedEpisode) -> None:
        """Give the slot's row fresh noise, memory and no earlier chunks."""
        row = slot.index
        self._generators[row].manual_seed(stream_seed(slot.job.seed, "policy"))
        self._chunks[row].clear()
        for key, fresh in self._fresh_state.items():
            self._state[key] = self._state[key].index_copy(
                0, torch.tensor([row], device=fresh.device), fresh[row : row + 1]
            )

    def plan(self, slots: Sequence[PlannedEpisode]) -> None:
        """Append the next actions to each slot's queue; raise ActionError if one is not finite."""
        with acting(self._policy):
            action_bha, self._state = self._policy.predict_action(
                self._observation(slots), self._state, self._generators
            )
        chunks = action_bha.to("cpu", torch.float32).numpy()
        finite = np.asarray(np.isfinite(chunks).all(axis=(1, 2)))
        for slot in slots:
            chunk = chunks[slot.index]
            if not finite[slot.index]:
                raise ActionError(
                    slot.job,
                    f"the policy gave an action that is not finite in episode {slot.job.id!r}, "
                    f"step {slot.step}; check its checkpoint and the observation's range",
                )
            if self._decay is None:
                slot.planned.extend(chunk[: self._horizon])
            else:
                if slot.interrupted:
                    self._chunks[slot.index].clear()
                self._chunks[slot.index].append(chunk)
                slot.planned.append(ensemble(self._chunks[slot.index], self._decay))
            slot.interrupted = False

    def _observation(self, slots: Sequence[PlannedEpisode]) -> Batch:
        batch: dict[str, Tensor] = {}
        for key, shape in self.shapes.items():
            dtype = _DTYPES.get(key, np.uint8)
            rows = np.zeros((len(self._generators), self.obs_steps, *shape), dtype)
            for slot in slots:
                for i, observation in enumerate(slot.history):
                    rows[slot.index, i] = observation[key]
            batch[key] = torch.from_numpy(rows).to(self._device)
        if TASK in batch:  # it has no history
            batch[TASK] = batch[TASK][:, -1]
        return batch


def executed_steps(
    chunk: int, execute_horizon: int | None, temporal_ensembling: float | None
) -> int:
    """Return how many steps of each chunk are executed, unless chunks are averaged.

    Raises:
        ConfigError: The settings contradict each other or the length of a chunk.
    """
    horizon = chunk if execute_horizon is None else execute_horizon
    if not 1 <= horizon <= chunk:
        raise ConfigError(
            f"execute_horizon: expected 1 to {chunk} (interface.chunk), got {horizon}"
        )
    if temporal_ensembling is not None and execute_horizon not in (None, 1):
        raise ConfigError(
            "temporal_ensembling decides at every step; leave execute_horizon out "
            f"(got {execute_horizon})"
        )
    return horizon


def ensemble(chunks: Sequence[np.ndarray], decay: float) -> np.ndarray:
    """Return the action (A,) for now from chunks (H, A) decided one step apart, oldest first."""
    newest = len(chunks) - 1
    votes_na = np.stack([chunk[newest - i] for i, chunk in enumerate(chunks)]).astype(np.float64)
    weights_n1 = np.exp(-decay * np.arange(len(chunks)))[:, None]
    return ((weights_n1 * votes_na).sum(axis=0) / weights_n1.sum()).astype(np.float32)


@contextmanager
def acting(policy: Policy) -> Iterator[None]:
    """Evaluate without gradients on one thread, then put every mode back.

    One thread, because the order of a parallel sum (and with it the last bit) depends on how many
    there are.
    """
    # A policy that is loaded to act stays in evaluation mode: nothing to change or put back then.
    modes = [(m, m.training) for m in policy.modules()] if policy.training else []
    threads = torch.get_num_threads()
    if modes:
        policy.eval()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        for module, training in modes:
            module.training = training
