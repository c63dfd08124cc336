"""How the episodes went that ended lately.

Shape legend: T steps, N environments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

_KEPT = 100
"""Episodes that means are taken over, as RSL-RL does."""


class EpisodeLog:
    """Sums rewards up to returns, once an iteration, and keeps the last 100 episodes.

    Args:
        num_envs: N.
    """

    def __init__(self, num_envs: int) -> None:
        self._return_n = np.zeros(num_envs)
        self._length_n = np.zeros(num_envs, dtype=np.int64)
        self._finished: deque[tuple[float, float, float]] = deque(maxlen=_KEPT)

    def add(self, rewards_tn: Tensor, dones_tn: Tensor, success_tn: Tensor | None) -> None:
        """Take in what an iteration gave; ``dones_tn`` says where a step was an episode's last."""
        sums_tn = np.cumsum(rewards_tn.cpu().double().numpy(), axis=0)
        dones_tn_array = dones_tn.cpu().numpy()
        success = None if success_tn is None else success_tn.cpu().numpy()
        begun_n = -self._return_n  # sum of rewards, from now, at which the running episode began
        first_n = -self._length_n
        for step, env in np.argwhere(dones_tn_array):
            self._finished.append(
                (
                    float(sums_tn[step, env] - begun_n[env]),
                    float(step + 1 - first_n[env]),
                    np.nan if success is None else float(success[step, env]),
                )
            )
            begun_n[env], first_n[env] = sums_tn[step, env], step + 1
        self._return_n = sums_tn[-1] - begun_n
        self._length_n = len(sums_tn) - first_n

    def figures(self) -> dict[str, float]:
        """Return the means over the last episodes under the names they are logged by."""
        if not self._finished:
            return {}
        reward, length, success = np.mean(np.array(self._finished), axis=0)
        values = {"Train/mean_reward": float(reward), "Train/mean_episode_length": float(length)}
        return values if np.isnan(success) else values | {"Train/success_rate": float(success)}

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that is kept."""
        finished = np.array(self._finished, dtype=np.float64).reshape(-1, 3)
        return {
            "returns": torch.from_numpy(self._return_n.copy()),
            "lengths": torch.from_numpy(self._length_n.copy()),
            "finished": torch.from_numpy(finished),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what ``state_dict`` returned."""
        self._return_n = state["returns"].numpy().copy()
        self._length_n = state["lengths"].numpy().copy()
        self._finished = deque(map(tuple, state["finished"].tolist()), maxlen=_KEPT)
