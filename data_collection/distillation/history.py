"""The aggregated history: every transition that was collected, up to a limit.

One block is what one iteration collected: T steps of N environments, row ``t · N + e``.

Shape legend: N environments, T steps of a block, B batch, L steps of a window, S what the student
sees, A action, M numbers of its memory, W width of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from data_collection.distillation.row_ring import RowRing
from trainer.interfaces import ACTION, ACTION_IS_PAD, EPISODE_START, MEMORY_PREFIX, STATE, Batch

_FRAME, _FRAME_DTYPE = "frame", torch.int32


@dataclass(frozen=True)
class Layout:
    """What a transition consists of, and how many come at once."""

    state: int
    """S."""
    action: int
    """A."""
    memory: Mapping[str, tuple[int, ...]]
    """The shape of each part of the student's memory before the step; empty: none is kept."""
    num_envs: int
    """N."""
    steps: int
    """T."""

    @property
    def block(self) -> int:
        """Transitions of one iteration."""
        return self.num_envs * self.steps

    def widths(self) -> dict[str, int]:
        """Return the fields of a row."""
        memory = {
            MEMORY_PREFIX + name: int(torch.Size(shape).numel())
            for name, shape in self.memory.items()
        }
        return {STATE: self.state, ACTION: self.action, **memory}

    def bytes_per_transition(self, dtype: torch.dtype) -> int:
        """Return the memory of one transition, the number of its step in its episode included."""
        return sum(self.widths().values()) * dtype.itemsize + _FRAME_DTYPE.itemsize


class History:
    """Transitions, each with what the teacher would have done.

    Args:
        layout: What they consist of.
        max_size: The most transitions that are kept.
        obs_steps: Observations that a memoryless student's decision looks at.
        context: Steps before a sample that must be there as well, at the beginning of the history.
        dtype: What numbers are stored as; batches are float32 in any case.
        device: Where they are stored.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        max_size: int,
        obs_steps: int = 1,
        context: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        self.layout = layout
        self.obs_steps = obs_steps
        self.context = max(context, obs_steps - 1)
        block, widths = layout.block, layout.widths()
        self.ring = RowRing(widths, max_rows=max_size, block=block, dtype=dtype, device=device)
        # Which step of its episode a row is: asked for before the rows themselves are fetched.
        self.frames = RowRing(
            {_FRAME: 1}, max_rows=max_size, block=block, dtype=_FRAME_DTYPE, device=device
        )

    def __len__(self) -> int:
        """Return how many transitions there are."""
        return len(self.ring)

    @property
    def blocks(self) -> int:
        """How many iterations they come from."""
        return len(self) // self.layout.block

    @property
    def bytes_per_transition(self) -> int:
        """The memory of one transition."""
        return self.ring.bytes_per_row + self.frames.bytes_per_row

    def claim_block(self) -> tuple[Tensor, Tensor]:
        """Return the next block's rows (T, N, W) and frames (T, N), to be written in place."""
        shape = (self.layout.steps, self.layout.num_envs)
        rows = self.ring.claim(self.layout.block)
        frames = self.frames.claim(self.layout.block)
        return rows.unflatten(0, shape), frames.unflatten(0, shape).squeeze(2)

    @property
    def forgotten(self) -> bool:
        """Whether the oldest transitions are gone; the first ``context`` steps then lack theirs."""
        return self.ring.written > self.ring.capacity

    # ---- memoryless students -------------------------------------------------------------------

    def transitions(self, age_order_b: Tensor) -> Batch:
        """Return the batch of these transitions; 0 is the oldest one.

        ``observation.state`` (B, obs_steps, S), in which the first observation of an episode takes
        the place of those before it; ``action`` (B, 1, A): what the teacher would have done.
        """
        index_b = self._place(age_order_b)
        if self.obs_steps == 1:
            rows_bow = self.ring.fetch(index_b)[:, None]
        else:
            back_o = torch.arange(self.obs_steps - 1, -1, -1, device=index_b.device)
            frame_b = self.frames.fetch(index_b)[:, 0].long()
            there_b = torch.minimum(frame_b, age_order_b // self.layout.num_envs)
            lookback_bo = torch.minimum(back_o[None], there_b[:, None])
            index_bo = (index_b[:, None] - lookback_bo * self.layout.num_envs) % self.ring.capacity
            rows_bow = self.ring.fetch(index_bo.flatten()).unflatten(0, index_bo.shape)
        fields = self.ring.split(rows_bow)
        return self._batch(fields[STATE], fields[ACTION][:, -1:])

    # ---- students with a memory ----------------------------------------------------------------

    def windows(self, block_b: Tensor, env_b: Tensor, start: int, length: int) -> Batch:
        """Return the batch of windows that begin at step ``start`` of blocks (0: the oldest).

        ``observation.state`` (B, L, S), ``action`` (B, L, A), ``episode_start`` (B, L) bool, and
        where memory is kept ``memory.<name>`` (B, …): the student's before the first step.
        """
        envs = self.layout.num_envs
        first_b = self._place(block_b * self.layout.block + start * envs + env_b)
        step_l = torch.arange(length, device=first_b.device)
        index_bl = (first_b[:, None] + step_l * envs) % self.ring.capacity
        fields = self.ring.split(self._rows(index_bl))
        batch = self._batch(fields[STATE], fields[ACTION])
        batch[EPISODE_START] = self.frames.fetch(index_bl.flatten()).view_as(index_bl) == 0
        for name, shape in self.layout.memory.items():
            key = MEMORY_PREFIX + name
            batch[key] = fields[key][:, 0].float().unflatten(1, shape)
        return batch

    def before(
        self, block_b: Tensor, env_b: Tensor, start: int, length: int
    ) -> tuple[Tensor, Tensor]:
        """Return the observations (B, length, S) right before windows, and where episodes begin.

        Where the history does not go back so far, the environment's oldest stands for what lacks.
        """
        envs = self.layout.num_envs
        first_b = block_b * self.layout.block + (start - length) * envs + env_b
        step_l = torch.arange(length, device=first_b.device)
        index_bl = self._place(torch.maximum(first_b[:, None] + step_l * envs, env_b[:, None]))
        states = self.ring.split(self._rows(index_bl))[STATE].float()
        return states, self.frames.fetch(index_bl.flatten()).view_as(index_bl) == 0

    # ---- saving --------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that is stored."""
        return {
            **{f"rows.{name}": value for name, value in self.ring.state_dict().items()},
            **{f"frames.{name}": value for name, value in self.frames.state_dict().items()},
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what ``state_dict`` returned."""
        for ring, prefix in ((self.ring, "rows."), (self.frames, "frames.")):
            ring.load_state_dict(
                {name.removeprefix(prefix): v for name, v in state.items() if prefix in name}
            )

    def _rows(self, index: Tensor) -> Tensor:
        return self.ring.fetch(index.flatten()).unflatten(0, index.shape)

    def _place(self, age_order: Tensor) -> Tensor:
        """Return where the transitions lie that have these places in the order of age."""
        oldest = self.ring.oldest
        return (age_order + oldest) % self.ring.capacity if oldest else age_order

    def _batch(self, state: Tensor, action: Tensor) -> Batch:
        pad = torch.zeros(action.shape[:2], dtype=torch.bool, device=action.device)
        return {STATE: state.float(), ACTION: action.float(), ACTION_IS_PAD: pad}
