"""Gymnasium's vector environments under the contract of RSL-RL.

Shape legend: N environments, S observation, A action.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from pydantic import JsonValue, PositiveInt
from tensordict import TensorDict
from torch import Tensor

from data_collection.distillation.vec_env import TIME_OUTS, vector_environments
from trainer.errors import ConfigError


@vector_environments.register("gymnasium_vector")
class GymnasiumVector:
    """N environments of one Gymnasium id. Each part of what they observe is an observation group.

    A flat observation is the group ``policy``, and ``teacher`` as well, for a teacher that sees
    nothing more; the parts of a dictionary keep their names.

    Args:
        num_envs: N.
        device: Where tensors are delivered.
        seed: Of the first environment; the others follow.
        id: As registered with Gymnasium.
        kwargs: Of the environments' constructor.
        processes: Whether each runs in a process of its own (rarely faster for small ones).
        max_episode_length: Needed where the environment sets no time limit.

    Raises:
        ConfigError: There is no such environment, its actions are discrete, or it has no limit.
    """

    def __init__(
        self,
        num_envs: PositiveInt,
        device: torch.device,
        seed: int,
        *,
        id: str,
        kwargs: dict[str, JsonValue] | None = None,
        processes: bool = False,
        max_episode_length: PositiveInt | None = None,
    ) -> None:
        limited = {"max_episode_steps": max_episode_length} if max_episode_length else {}
        try:
            self._envs = gym.make_vec(
                id,
                num_envs=num_envs,
                vectorization_mode="async" if processes else "sync",
                # An episode's last step and the next one's first observation in one answer.
                vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
                **limited,
                **dict[str, Any](kwargs or {}),
            )
        except (TypeError, ValueError, OSError, ImportError, gym.error.Error) as error:
            raise ConfigError(
                f"gymnasium_vector: {id!r} cannot be made with {kwargs or {}}: {error}"
            ) from error
        seen = self._envs.single_observation_space
        parts = seen.values() if isinstance(seen, gym.spaces.Dict) else [seen]
        if not all(isinstance(part, gym.spaces.Box) for part in parts):
            raise ConfigError(
                f"gymnasium_vector: {id!r} shows {seen}; expected a box of real numbers, or a "
                "dictionary of such"
            )
        space = self._envs.single_action_space
        if not isinstance(space, gym.spaces.Box):
            raise ConfigError(
                f"gymnasium_vector: {id!r} takes actions of {space}; expected a box of real numbers"
            )
        limit = max_episode_length or (self._envs.spec and self._envs.spec.max_episode_steps)
        if not limit:
            raise ConfigError(
                f"gymnasium_vector: {id!r} has no time limit; give max_episode_length"
            )
        self._low, self._high = space.low, space.high
        self._shape = (num_envs, *space.shape)
        self.num_envs, self.num_actions = num_envs, math.prod(space.shape)
        self.max_episode_length = int(limit)
        self.device = device
        self.cfg = {"id": id}
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long, device=device)
        observation, _ = self._envs.reset(seed=seed % 2**31)
        self._groups = self._to_groups(observation)

    def get_observations(self) -> TensorDict:
        """Return the present observation groups."""
        return TensorDict(dict(self._groups), batch_size=[self.num_envs], device=self.device)

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict]:
        """Apply the actions, clipped to their range; see ``VecEnv.step``."""
        wanted = actions.detach().cpu().numpy().reshape(self._shape)
        observation, reward, terminated, truncated, _ = self._envs.step(
            np.clip(wanted, self._low, self._high)
        )
        self._groups = self._to_groups(observation)
        done = torch.as_tensor(terminated | truncated, device=self.device)
        self.episode_length_buf = (self.episode_length_buf + 1) * ~done
        rewards = torch.as_tensor(reward, dtype=torch.float32, device=self.device)
        time_outs = torch.as_tensor(truncated & ~terminated, device=self.device)
        return self.get_observations(), rewards, done, {TIME_OUTS: time_outs}

    def close(self) -> None:
        """End the environments' processes."""
        self._envs.close()

    def _to_groups(self, observation: np.ndarray | dict[str, np.ndarray]) -> dict[str, Tensor]:
        if isinstance(observation, np.ndarray):
            rows = self._to_rows(observation)
            return {"policy": rows, "teacher": rows}
        return {name: self._to_rows(part) for name, part in observation.items()}

    def _to_rows(self, part: np.ndarray) -> Tensor:
        rows = part.reshape(self.num_envs, -1)
        # A copy: Gymnasium writes the next observations into the same array.
        return torch.tensor(rows, dtype=torch.float32, device=self.device)
