"""Data made from nothing but the interface: for dry runs without data, and for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from trainer.interfaces import (
    ACTION,
    ACTION_IS_PAD,
    DEPTH_PREFIX,
    EPISODE_INDEX,
    FRAME_INDEX,
    ROUND_INDEX,
    STATE,
    TASK,
    Batch,
    Dataset,
    FeatureStatistics,
    Interface,
)


class FakeDataset(Dataset):
    """Random samples of an interface's shapes: a function of ``seed`` and the sample's index.

    Each episode has ``episode_length`` samples; chunks are padded beyond its end.
    """

    def __init__(
        self, interface: Interface, *, episodes: int = 4, episode_length: int = 16, seed: int = 0
    ) -> None:
        self.interface = interface
        self.episode_length = episode_length
        self.length = episodes * episode_length
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.length

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Return the batch of these samples."""
        rows = [self._sample(int(i)) for i in indices]
        return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}

    def statistics(self) -> dict[str, FeatureStatistics]:
        """Return those of the standard normal distribution, which states and actions follow."""
        return {
            key: FeatureStatistics(
                self.length, np.zeros(size), np.ones(size), np.full(size, -3.0), np.full(size, 3.0)
            )
            for key, size in ((STATE, self.interface.state), (ACTION, self.interface.action))
        }

    def episode_of_sample(self) -> np.ndarray:
        """Return the episode of each sample."""
        return np.arange(self.length) // self.episode_length

    def sample_weights(self) -> np.ndarray | None:
        """Return None: all samples count the same."""
        return None

    def environment_config(self) -> Mapping[str, object] | None:
        """Return None: no environment made these data."""
        return None

    def _sample(self, index: int) -> Batch:
        sizes = self.interface
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        episode, frame = divmod(index, self.episode_length)
        step = torch.arange(sizes.chunk)
        batch = {
            STATE: torch.randn(sizes.obs_steps, sizes.state, generator=generator),
            ACTION: torch.randn(sizes.chunk, sizes.action, generator=generator),
            ACTION_IS_PAD: frame + step >= max(self.episode_length, sizes.chunk),
            TASK: torch.tensor(0),
            EPISODE_INDEX: torch.tensor(episode),
            FRAME_INDEX: torch.tensor(frame),
            ROUND_INDEX: torch.tensor(0),
        }
        for name, (channels, height, width) in sizes.cameras.items():
            shape = (sizes.obs_steps, channels, height, width)
            batch[f"observation.images.{name}"] = torch.randint(
                0, 256, shape, generator=generator, dtype=torch.uint8
            )
            batch[DEPTH_PREFIX + name] = (
                torch.rand(sizes.obs_steps, 1, height, width, generator=generator) + 0.5
            )
        return batch
