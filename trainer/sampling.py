"""Which samples each optimizer step trains on: a pure function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainer.seeding import stream_seed


class SampleOrder:
    """The order of samples over a whole run, for one rank.

    A *pass* visits every sample once in a random order (or draws as many samples by weight). A
    step takes the next ``batch_size * accumulate * world_size`` of them, the *global batch*; rank
    r trains on every ``world_size``-th from r on, so that N ranks see the data of one rank with N
    times the batch. What is left at the end of a pass and does not fill a step is dropped;
    the next pass has another order. With less than one global batch of data a step repeats it.
    """

    def __init__(
        self,
        samples: np.ndarray,
        *,
        batch_size: int,
        accumulate: int = 1,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        weights: np.ndarray | None = None,
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.rank = rank
        self.world_size = world_size
        self.seed = seed
        self.global_batch = batch_size * accumulate * world_size
        self.steps_per_pass = steps_per_pass(len(samples), self.global_batch)
        self._cumulative = None if weights is None else np.cumsum(weights / weights.sum())
        self._pass_index = -1
        self._pass_order = np.empty(0, dtype=np.int64)

    def micro_batches(self, step: int) -> list[np.ndarray]:
        """Return this rank's ``accumulate`` index arrays of ``batch_size`` samples for a step."""
        pass_index, step_in_pass = divmod(step, self.steps_per_pass)
        if pass_index != self._pass_index:
            self._pass_index, self._pass_order = pass_index, self._order(pass_index)
        start = step_in_pass * self.global_batch
        mine = self._pass_order[start : start + self.global_batch][self.rank :: self.world_size]
        return list(mine.reshape(self.accumulate, self.batch_size))

    def from_step(self, step: int, total_steps: int) -> Iterator[np.ndarray]:
        """Yield the micro-batches of all steps from ``step`` on, one after the other."""
        for current in range(step, total_steps):
            yield from self.micro_batches(current)

    def _order(self, pass_index: int) -> np.ndarray:
        rng = np.random.default_rng(stream_seed(self.seed, "sample_order", pass_index))
        needed = self.steps_per_pass * self.global_batch
        if self._cumulative is not None:
            drawn = np.searchsorted(self._cumulative, rng.random(needed), side="right")
            return self.samples[np.minimum(drawn, len(self.samples) - 1)]
        repeats = -(-needed // len(self.samples))
        order = np.concatenate([rng.permutation(len(self.samples)) for _ in range(repeats)])
        return self.samples[order[:needed]]


def steps_per_pass(samples: int, global_batch: int) -> int:
    """Return how many steps a pass over the samples takes: what does not fill one is dropped."""
    return max(1, samples // global_batch)
