"""The contract of a vectorised environment: RSL-RL's ``VecEnv``, which Isaac Lab's wrapper fulfils.

Nothing has to inherit from anything here: what has these attributes and methods is one.

Shape legend: N environments, A action; an observation group is (N, its size) float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from tensordict import TensorDict
from torch import Tensor

from trainer.errors import ConfigError, nearest
from trainer.registry import Registry

TIME_OUTS = "time_outs"
"""Key of a step's extras: (N,), which episodes ended for want of time alone."""
SUCCESS = "success"
"""Key of a step's extras, not of RSL-RL's: (N,) bool, which episodes ended well."""


class VecEnv(Protocol):
    """N environments that are stepped together and start anew by themselves."""

    @property
    def num_envs(self) -> int:
        """How many there are."""
        ...

    @property
    def num_actions(self) -> int:
        """Size of one action."""
        ...

    @property
    def max_episode_length(self) -> int | Tensor:
        """Steps after which an episode times out; a tensor (N,) where they differ."""
        ...

    @property
    def device(self) -> torch.device | str:
        """Where observations, rewards and actions are."""
        ...

    def get_observations(self) -> TensorDict:
        """Return the present observation groups."""
        ...

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict]:
        """Apply ``actions`` (N, A) and return observations, rewards (N,), dones (N,), extras.

        Where an episode is done, the observation is already the next episode's first.
        """
        ...


@runtime_checkable
class SavesState(Protocol):
    """An environment that can go on exactly where it was saved."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that decides the future."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what ``state_dict`` returned."""
        ...


vector_environments: Registry[VecEnv] = Registry(
    "vector environment", ["num_envs", "device", "seed", "root"]
)


class ObservationSet:
    """Some observation groups side by side: what the student sees, or the teacher.

    Args:
        groups: Their names.
        observations: What the environment gives.
        where: Begins messages.

    Raises:
        ConfigError: There is no such group, or it is not one vector for each environment.
    """

    def __init__(self, groups: Sequence[str], observations: TensorDict, where: str) -> None:
        known = [str(key) for key in observations.keys()]  # noqa: SIM118 - it iterates over rows
        for group in groups:
            if group not in known:
                raise ConfigError(
                    f"{where}: the environment gives no observation group {group!r}"
                    f"{nearest(group, known)}; it gives {', '.join(sorted(known))}"
                )
            if observations[group].ndim != 2:
                raise ConfigError(
                    f"{where}: the observation group {group!r} has the shape "
                    f"{tuple(observations[group].shape)}; expected one vector for each environment"
                )
        self.groups = tuple(groups)
        self.size = sum(observations[group].shape[1] for group in groups)

    def __call__(self, observations: TensorDict) -> Tensor:
        """Return the groups (N, size); one group alone is not copied."""
        if len(self.groups) == 1:
            return observations[self.groups[0]]
        return torch.cat([observations[group] for group in self.groups], dim=1)
