"""What both sides of ``distillation.py`` share: the sizes, and the environment itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from tensordict import TensorDict
from torch import Tensor

STATE, PRIVILEGED, ACTIONS = 48, 60, 12
HIDDEN = (256, 128, 64)
EPISODE_STEPS = 250


@dataclass(frozen=True)
class DistillationTask:
    """What a contestant is to do."""

    folder: str
    """Where logs go."""
    envs: int = 100
    steps: int = 24
    gradient_length: int = 24
    """Steps after which the optimizer takes one."""
    recurrent: bool = False
    """Whether the student is a GRU, instead of three layers."""
    stored: int = 0
    """Transitions that the history is filled up to beforehand; 0: no aggregation."""

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> DistillationTask:
        """Return the task that ``to_argument`` wrote on a contestant's command line."""
        return cls(**json.loads(arguments[0]))

    def to_argument(self) -> str:
        """Return the task as JSON."""
        return json.dumps(asdict(self))


class ToyEnvironment:
    """A noisy linear system, one product of matrices a step, so that the libraries' cost shows."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs, self.num_actions = num_envs, ACTIONS
        self.max_episode_length = EPISODE_STEPS
        self.device, self.cfg = "cpu", {}
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)
        generator = torch.Generator().manual_seed(0)
        self._moves = torch.randn(PRIVILEGED, PRIVILEGED, generator=generator) * 0.1
        self._acts = torch.randn(ACTIONS, PRIVILEGED, generator=generator) * 0.1
        self._truth = torch.randn(num_envs, PRIVILEGED, generator=generator)

    def get_observations(self) -> TensorDict:
        """Return what the student sees, and the truth."""
        groups = {"policy": self._truth[:, :STATE].clone(), "teacher": self._truth.clone()}
        return TensorDict(groups, batch_size=[self.num_envs])

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict]:
        """Move on; see RSL-RL's ``VecEnv``."""
        moved = torch.tanh(self._truth @ self._moves + actions @ self._acts)
        self._truth = moved + 0.01 * torch.randn_like(moved)
        self.episode_length_buf += 1
        done = self.episode_length_buf >= EPISODE_STEPS
        self.episode_length_buf[done] = 0
        extras = {"time_outs": torch.zeros(self.num_envs)}
        return self.get_observations(), -self._truth.square().mean(1), done.float(), extras
