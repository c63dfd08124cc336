"""Cloning with a memory: for students that do not see all of the state.

Shape legend: B batch, L steps of a window, A action, D token width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from components.models.contracts import ActionHead, check_fit, component
from components.models.observer import Observer
from components.models.recurrent_trunk import RecurrentTrunk
from trainer.interfaces import (
    ACTION,
    ACTION_IS_PAD,
    EPISODE_START,
    MEMORY_PREFIX,
    STATE,
    Batch,
    Interface,
    Loss,
    LossOutput,
    Policy,
    Progress,
    State,
)
from trainer.registry import policies


@policies.register("recurrent_cloning")
class RecurrentCloning(Policy):
    """Predicts the teacher's action at every step of a window; decides one step at a time.

    The memory before a window comes with the batch, and no gradient goes back beyond it: truncated
    back-propagation through time (Williams and Peng, An Efficient Gradient-Based Algorithm, 1990).

    Args:
        components: ``observation_encoder``, its cameras' backbones (see ``Observer``), ``trunk``
            (a ``recurrent_trunk``) and ``action_head``.
        interface: What the policy sees and does; one observation step, chunks of one action.
        loss: The regression loss that the head uses.
    """

    needs = (EPISODE_START,)

    def __init__(self, components: nn.ModuleDict, interface: Interface, loss: Loss) -> None:
        super().__init__()
        self.observer = Observer(components, interface, others=["trunk", "action_head"])
        self.components = components
        self.loss = loss
        self.needs = (*self.observer.needs, *type(self).needs)
        check_fit("interface.obs_steps", interface.obs_steps, 1)
        tokens = self.observer.tokens
        check_fit("trunk.inputs", self.trunk.inputs, tokens * self.observer.encoder.token_dim)
        check_fit("action_head.features", self.head.features, self.trunk.features)
        check_fit("action_head.chunk", self.head.chunk, 1)
        check_fit("action_head.action", self.head.action, interface.action)

    @property
    def trunk(self) -> RecurrentTrunk:
        """The component that remembers."""
        return component(self.components, "trunk", RecurrentTrunk)

    @property
    def head(self) -> ActionHead:
        """The component that turns features into actions."""
        return component(self.components, "action_head", ActionHead)

    def compute_loss(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return the head's loss over the valid steps of all windows."""
        batch = self.normalizer.normalize(batch)
        memory = {name: batch[MEMORY_PREFIX + name] for name in self.trunk.initial_state(1)}
        x_bld = self._encode(batch)
        features_blf, _ = self.trunk(x_bld, memory, batch[EPISODE_START])
        return self.head.loss(
            features_blf.flatten(0, 1),
            batch[ACTION].flatten(0, 1)[:, None],
            ~batch[ACTION_IS_PAD].flatten()[:, None],
            self.loss,
        )

    def initial_state(self, batch_size: int) -> State:
        """Return the trunk's memory at the start of episodes."""
        return self.trunk.initial_state(batch_size)

    def predict_action(
        self, observation: Batch, state: State, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, State]:
        """Return the head's action (B, 1, A) in real units, and the memory after this step."""
        x_bld = self._encode(self.normalizer.normalize(observation))
        features_blf, state = self.trunk(x_bld, state)
        action_bha = self.head.act(features_blf[:, -1], generators)
        return self.normalizer.unnormalize_action(action_bha, observation), state

    def _encode(self, batch: Batch) -> Tensor:
        """Return what the trunk sees (B, L, D) of a normalised batch of L steps."""
        seen = {
            key: value.flatten(0, 1)[:, None]
            for key, value in batch.items()
            if key.startswith("observation.")
        }
        return self.observer(seen).flatten(1).unflatten(0, batch[STATE].shape[:2])
