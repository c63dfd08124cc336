"""Plain flow matching over action chunks.

Shape legend: B batch, H action-chunk steps, A action, N observation tokens, D token width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from components.models.contracts import VelocityDecoder, component
from components.models.flow import DEFAULT_FLOW, Flow, Velocity
from components.models.observer import Observer, check_decoder
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
from trainer.ops import randn_rows
from trainer.registry import policies


@policies.register("naive_flow_matching_policy")
class NaiveFlowMatchingPolicy(Policy):
    """Learns the velocity from noise to the action chunk along straight paths.

    Source: Lipman et al., Flow Matching for Generative Modeling, 2023, eq. 23.

    Args:
        components: ``observation_encoder``, its cameras' backbones (see ``Observer``) and
            ``action_decoder``.
        interface: What the policy sees and does.
        loss: Compares the velocity with action - noise.
        flow: Training times and solver.
    """

    def __init__(
        self,
        components: nn.ModuleDict,
        interface: Interface,
        loss: Loss,
        *,
        flow: Flow = DEFAULT_FLOW,
    ) -> None:
        super().__init__()
        self.observer = Observer(components, interface, others=["action_decoder"])
        self.components = components
        self.loss = loss
        self.flow = flow
        self.needs = self.observer.needs
        check_decoder(self.decoder, interface, self.observer)

    @property
    def decoder(self) -> VelocityDecoder:
        """The component that predicts velocities."""
        return component(self.components, "action_decoder", VelocityDecoder)

    def compute_loss(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return the masked loss between predicted velocity and action - noise."""
        batch = self.normalizer.normalize(batch)
        sample = self.flow.draw(batch[ACTION], progress.generator)
        velocity = self._velocity(self.observer(batch))
        return self.loss(velocity(sample.x_t, sample.t), sample.dx_t, ~batch[ACTION_IS_PAD])

    def predict_action(
        self, observation: Batch, state: State, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, State]:
        """Return a chunk integrated from noise, in real units."""
        memory_bnd = self.observer(self.normalizer.normalize(observation))
        shape = (self.decoder.chunk, self.decoder.action)
        noise_bha = randn_rows(shape, generators, memory_bnd.device)
        action_bha = self.flow.sample(self._velocity, noise_bha, memory_bnd)
        return self.normalizer.unnormalize_action(action_bha, observation), state

    def _velocity(self, memory_bnd: Tensor) -> Velocity:
        """Return the velocity field given observation tokens."""
        memory = self.decoder.remember(memory_bnd)
        return lambda x_bha, time_b: self.decoder(x_bha, time_b, memory).float()
