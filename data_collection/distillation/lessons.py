"""What the student learns from in an iteration: batches drawn from the history.

An epoch draws as much as was just collected, wherever in the history it comes from, so that an
iteration costs the same however long the history is. A student without memory learns from single
transitions; one with a memory from windows of ``gradient_length`` steps, and from the shorter
window that is left at the end of a block.

Shape legend: N environments, T steps of a block, B batch, L steps of a window, S state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from data_collection.distillation.history import History
from data_collection.distillation.schema import AlgorithmConfig
from trainer.interfaces import MEMORY_PREFIX, Batch, State
from trainer.seeding import stream_seed

Remember = Callable[[Tensor, Tensor], State]
"""The student's memory after observations (B, L, S), where episodes begin (B, L)."""


@dataclass(frozen=True)
class LessonPlan:
    """How many units an iteration learns from, and in how many batches.

    A unit is a transition or, for a student with a memory, a window of one environment.
    """

    algorithm: AlgorithmConfig
    num_envs: int
    """N."""
    steps: int
    """T."""
    obs_steps: int
    has_memory: bool

    @property
    def context(self) -> int:
        """Steps before a unit that it needs as well."""
        if not self.has_memory:
            return self.obs_steps - 1
        return self.algorithm.burn_in if self.algorithm.memory == "burnt_in" else 0

    @property
    def max_size(self) -> int:
        """The most transitions that the history has to keep."""
        if self.algorithm.use_dagger:
            return self.algorithm.max_buffer_size
        return self.num_envs * self.steps * (1 + -(-self.context // self.steps))

    @property
    def fresh(self) -> int:
        """Units of one iteration."""
        return self.num_envs if self.has_memory else self.num_envs * self.steps

    @property
    def batch_size(self) -> int:
        """Units of a batch."""
        return -(-self.fresh // self.algorithm.num_mini_batches)

    @property
    def parts(self) -> list[tuple[int, int]]:
        """Start and length of the windows of a block; a single transition needs no start."""
        if not self.has_memory:
            return [(0, 1)]
        length = self.algorithm.gradient_length
        starts = range(0, self.steps, length)
        return [(start, min(length, self.steps - start)) for start in starts]

    def first(self, start: int, forgotten: bool) -> int:
        """Return the oldest unit whose context is there, in the order of their age.

        Args:
            start: The step of its block with which the unit begins.
            forgotten: Whether older blocks are gone.
        """
        if not forgotten:
            return 0
        if not self.has_memory:
            return self.context * self.num_envs
        return -(-max(0, self.context - start) // self.steps) * self.num_envs

    def batches(self, iteration: int) -> int:
        """Return the batches, hence optimizer steps, of an iteration.

        Args:
            iteration: Counted from 0 where the history was empty.
        """
        algorithm, blocks = self.algorithm, iteration + 1
        if not (algorithm.use_dagger and algorithm.full_pass):
            return self._batches(self.fresh) * len(self.parts) * algorithm.num_learning_epochs
        kept = max(1, self.max_size // (self.num_envs * self.steps))
        units, forgotten = min(blocks, kept) * self.fresh, blocks > kept
        drawn = (units - self.first(start, forgotten) for start, _ in self.parts)
        return sum(map(self._batches, drawn)) * algorithm.num_learning_epochs

    def _batches(self, units: int) -> int:
        return -(-units // self.batch_size)


class Lessons:
    """Draws batches: a function of the seed, the iteration and what the history holds.

    Args:
        history: What has been collected.
        plan: How it is drawn from.
        remember: Makes a memory anew.
        seed: Of this rank's draws.
    """

    def __init__(self, history: History, plan: LessonPlan, remember: Remember, seed: int) -> None:
        self.history = history
        self.plan = plan
        self.remember = remember
        self.seed = seed

    @property
    def count(self) -> int:
        """How many batches an iteration has, now that it has been collected."""
        return self.plan.batches(self.history.ring.written // self.history.layout.block - 1)

    def batches(self, iteration: int) -> Iterator[Batch]:
        """Yield the batches of all epochs of an iteration, which has been collected already."""
        generator = torch.Generator(self.history.ring.rows.device)
        generator.manual_seed(stream_seed(self.seed, "lessons", iteration))
        for _ in range(self.plan.algorithm.num_learning_epochs):
            for start, length in self.plan.parts:
                for units_b in self._draw(start, generator).split(self.plan.batch_size):
                    if self.plan.has_memory:
                        yield self._windows(units_b, start, length)
                    else:
                        yield self.history.transitions(units_b)

    def _windows(self, units_b: Tensor, start: int, length: int) -> Batch:
        """Return windows that begin at one step of their blocks, so that none is padded."""
        block_b, env_b = units_b // self.plan.num_envs, units_b % self.plan.num_envs
        batch = self.history.windows(block_b, env_b, start, length)
        if self.plan.algorithm.memory == "burnt_in":
            before = self.history.before(block_b, env_b, start, self.plan.context)
            for name, value in self.remember(*before).items():
                batch[MEMORY_PREFIX + name] = value
        return batch

    def _draw(self, start: int, generator: torch.Generator) -> Tensor:
        """Return the units of an epoch, each by its place in the order of age (0: the oldest)."""
        algorithm, fresh = self.plan.algorithm, self.plan.fresh
        stored = self.history.blocks * fresh
        first = self.plan.first(start, self.history.forgotten)
        device = generator.device
        if not algorithm.use_dagger:
            return stored - fresh + torch.randperm(fresh, generator=generator, device=device)
        if algorithm.full_pass:
            return first + torch.randperm(stored - first, generator=generator, device=device)
        if algorithm.sampling == "recency":
            half_life = algorithm.recency_half_life * fresh
            uniform = torch.rand(fresh, generator=generator, device=device, dtype=torch.float64)
            return stored - 1 - recent_ages(uniform, stored - first, half_life)
        return torch.randint(first, stored, (fresh,), generator=generator, device=device)


def recent_ages(uniform_b: Tensor, count: int, half_life: float) -> Tensor:
    """Return ages (B,) below ``count``, with a probability in proportion to 2^(-age/half_life).

    By the inverse of the distribution function; ``uniform_b`` is float64 in [0, 1).
    """
    everything = 1 - 2 ** (-count / half_life)
    ages_b = -half_life * torch.log2(1 - uniform_b * everything)
    return ages_b.long().clamp(max=count - 1)
