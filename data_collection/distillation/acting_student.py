"""The student as it acts in N environments at once: what it has seen, and its memory.

Shape legend: N environments, S what it sees in a step, To observation steps, A action.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainer.interfaces import STATE, Interface, Policy, State


class ActingStudent:
    """Decides for all environments in one call.

    Args:
        policy: Decides.
        interface: What it sees and does.
        num_envs: N.
        generator: Where its chance comes from.
        device: Where it computes.
    """

    def __init__(
        self,
        policy: Policy,
        interface: Interface,
        num_envs: int,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.policy = policy
        self._generators = [generator] * num_envs
        self._fresh = policy.initial_state(num_envs)
        self.memory: State = dict(self._fresh)
        shape = (num_envs, interface.obs_steps, interface.state)
        self._seen_nos = torch.zeros(shape, device=device)

    @property
    def has_memory(self) -> bool:
        """Whether what it does depends on more than the last observations."""
        return bool(self._fresh)

    def observe(self, state_ns: Tensor, begins_n: Tensor) -> None:
        """Look at the next observations; where an episode begins forget all earlier ones."""
        if self._seen_nos.shape[1] == 1:
            self._seen_nos = state_ns[:, None]
        else:
            later = torch.cat([self._seen_nos[:, 1:], state_ns[:, None]], dim=1)
            self._seen_nos = torch.where(begins_n[:, None, None], state_ns[:, None], later)
        if self._fresh:
            self.memory = _begun_anew(self.memory, self._fresh, begins_n)

    def act(self) -> Tensor:
        """Return the actions (N, A), and remember what was seen."""
        action_nha, self.memory = self.policy.predict_action(
            {STATE: self._seen_nos}, self.memory, self._generators
        )
        return action_nha[:, 0]

    @torch.no_grad()
    def remember(self, state_bls: Tensor, begins_bl: Tensor) -> State:
        """Return the memory (B, …) after these observations, from none at all."""
        fresh = self.policy.initial_state(len(state_bls))
        memory = fresh
        for state_bs, begins_b in zip(state_bls.unbind(1), begins_bl.unbind(1), strict=True):
            memory = _begun_anew(memory, fresh, begins_b)
            _, memory = self.policy.predict_action(
                {STATE: state_bs[:, None]}, memory, self._generators[:1] * len(state_bls)
            )
        return memory

    def state_dict(self) -> dict[str, Tensor]:
        """Return what it has seen and its memory."""
        return {"seen": self._seen_nos, **{f"memory.{k}": v for k, v in self.memory.items()}}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what ``state_dict`` returned."""
        device = self._seen_nos.device
        self._seen_nos = state["seen"].to(device)
        self.memory = {name: state[f"memory.{name}"].to(device) for name in self._fresh}


def _begun_anew(memory: State, fresh: State, begins_n: Tensor) -> State:
    return {
        name: torch.where(begins_n.view(-1, *[1] * (value.ndim - 1)), fresh[name], value)
        for name, value in memory.items()
    }
