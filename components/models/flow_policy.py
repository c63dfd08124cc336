"""What policies share whose velocity depends on observation tokens alone.

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
    State,
)
from trainer.ops import randn_rows


class FlowPolicy(Policy):
    """Flow matching over action chunks, conditioned on what is observed.

    Args:
        components: ``observation_encoder`` and what belongs to it (see ``Observer``), and
            ``action_decoder``.
        interface: What the policy sees and does.
        loss: Compares the velocity with action - noise.
        flow: Training times and solver.
    """

    teaches_depth = False
    """Whether there is a loss for a ``depth_stream`` that estimates."""

    def __init__(
        self,
        components: nn.ModuleDict,
        interface: Interface,
        loss: Loss,
        *,
        flow: Flow = DEFAULT_FLOW,
    ) -> None:
        super().__init__()
        self.observer = Observer(
            components, interface, others=["action_decoder"], teaches_depth=self.teaches_depth
        )
        self.components = components
        self.loss = loss
        self.flow = flow
        self.needs = self.observer.needs
        check_decoder(self.decoder, interface, self.observer)

    @property
    def decoder(self) -> VelocityDecoder:
        """The component that predicts velocities."""
        return component(self.components, "action_decoder", VelocityDecoder)

    def velocity_loss(
        self, tokens_bnd: Tensor, batch: Batch, generator: torch.Generator
    ) -> LossOutput:
        """Return the masked loss of the velocity, for a batch in normalised units."""
        sample = self.flow.draw(batch[ACTION], batch[ACTION_IS_PAD], generator)
        velocity_bha = self._velocity(tokens_bnd)(sample.x_t, sample.t)
        return self.loss(velocity_bha, sample.dx_t, ~batch[ACTION_IS_PAD])

    def predict_action(
        self, observation: Batch, state: State, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, State]:
        """Return a chunk integrated from noise, in real units."""
        tokens_bnd = self.observer(self.normalizer.normalize(observation))
        shape = (self.decoder.chunk, self.decoder.action)
        noise_bha = randn_rows(shape, generators, tokens_bnd.device)
        action_bha = self.flow.sample(self._velocity, noise_bha, tokens_bnd)
        return self.normalizer.unnormalize_action(action_bha, observation), state

    def _velocity(self, tokens_bnd: Tensor) -> Velocity:
        """Return the velocity field given observation tokens."""
        memory = self.decoder.remember(tokens_bnd)
        return lambda x_bha, time_b: self.decoder(x_bha, time_b, memory).float()
