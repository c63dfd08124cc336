"""Made-up episodes of any size. Needs numpy alone, so that the peers' environments run it too.

Shape legend: T steps, S state, A action, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Content:
    """What a made-up data set holds; equal contents give equal bits everywhere."""

    episodes: int
    length: int
    state: int
    action: int
    cameras: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Name -> (H, W)."""

    def generate(self) -> Iterator[Arrays]:
        """Yield ``state`` (T, S), ``action`` (T, A), and a (T, H, W, 3) uint8 film a camera."""
        films = {name: _film(self.length, *size, i) for i, (name, size) in enumerate(self._sizes())}
        for episode in range(self.episodes):
            rng = np.random.default_rng(episode)
            yield {
                "state": rng.standard_normal((self.length, self.state), np.float32),
                "action": rng.uniform(-1, 1, (self.length, self.action)).astype(np.float32),
                # Other frames in every episode, for the price of a copy.
                **{name: np.roll(film, 7 * episode, axis=2) for name, film in films.items()},
            }

    @property
    def raw_bytes(self) -> int:
        """Return the size of all arrays."""
        pixels = sum(3 * height * width for _, (height, width) in self._sizes())
        return self.episodes * self.length * (4 * (self.state + self.action) + pixels)

    def _sizes(self) -> list[tuple[str, tuple[int, int]]]:
        return list(self.cameras.items())


def _film(length: int, height: int, width: int, seed: int) -> np.ndarray:
    """Return smooth gradients, a moving square and light noise: it compresses like a rendering."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 2, y * 2, x + y], axis=-1)
    film = base + rng.integers(-4, 5, (length, height, width, 3))
    side, reach = height // 8, height // 3
    for t in range(length):
        top = int(height * 0.4 + reach * np.cos(t / 15 + seed))
        left = int(width * 0.4 + reach * np.sin(t / 15 + seed))
        film[t, top : top + side, left : left + side] = 250
    return np.clip(film, 0, 255).astype(np.uint8)
