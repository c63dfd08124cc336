"""Behaviour cloning: the baseline.

Shape legend: B batch, F features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from components.models.contracts import ActionHead, Trunk, check_fit, component
from components.models.observer import Observer
from trainer.interfaces import (
    ACTION,
    ACTION_IS_PAD,
    Batch,
    Interface,
    Loss,
    LossOutput,
    Policy,
    Progress,
    State,
)
from trainer.registry import policies


@policies.register("behavior_cloning")
class BehaviorCloning(Policy):
    """Predicts the expert's chunk from the observation; the head decides point or mixture.

    Source: Pomerleau, ALVINN, 1989.

    Args:
        components: ``observation_encoder``, its cameras' backbones (see ``Observer``), ``trunk``
            and ``action_head``.
        interface: What the policy sees and does.
        loss: The regression loss that the head uses.
    """

    def __init__(self, components: nn.ModuleDict, interface: Interface, loss: Loss) -> None:
        super().__init__()
        self.observer = Observer(components, interface, others=["trunk", "action_head"])
        self.components = components
        self.loss = loss
        self.needs = self.observer.needs
        tokens, head = self.observer.tokens, self.head
        check_fit("trunk.inputs", self.trunk.inputs, tokens * self.observer.encoder.token_dim)
        check_fit("action_head.features", head.features, self.trunk.features)
        check_fit("action_head.chunk", head.chunk, interface.chunk)
        check_fit("action_head.action", head.action, interface.action)

    @property
    def trunk(self) -> Trunk:
        """The component that turns tokens into features."""
        return component(self.components, "trunk", Trunk)

    @property
    def head(self) -> ActionHead:
        """The component that turns features into actions."""
        return component(self.components, "action_head", ActionHead)

    def compute_loss(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return the head's loss over the valid steps."""
        batch = self.normalizer.normalize(batch)
        return self.head.loss(
            self._features(batch), batch[ACTION], ~batch[ACTION_IS_PAD], self.loss
        )

    def predict_action(
        self, observation: Batch, state: State, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, State]:
        """Return the head's chunk in real units."""
        features_bf = self._features(self.normalizer.normalize(observation))
        action_bha = self.head.act(features_bf, generators)
        return self.normalizer.unnormalize_action(action_bha, observation), state

    def _features(self, batch: Batch) -> Tensor:
        """Return the trunk's features (B, F) of a normalised batch."""
        return self.trunk(self.observer(batch).flatten(1))
