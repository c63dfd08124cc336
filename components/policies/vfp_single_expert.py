"""Flow matching with one expert, on cameras and, if wanted, depth.

Shape legend: B batch, H action-chunk steps, A action, N observation tokens, D token width.
"""

from collections.abc import Sequence

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from components.models.contracts import VelocityDecoder, component
from components.models.depth_estimator import scale_invariant_log_loss
from components.models.flow import DEFAULT_FLOW, Flow, Velocity
from components.models.observer import Observer, check_decoder
from trainer.interfaces import (
    ACTION,
    ACTION_IS_PAD,
    DEPTH_PREFIX,
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


@policies.register("vfp_single_expert")
class VFPSingleExpert(Policy):
    """The single expert of a variational flow policy: no latent, no gate, depth as a stream.

    It learns as ``naive_flow_matching_policy`` does; a ``depth_stream`` that estimates depth learns
    that, too, from the recorded depth of its camera.

    Args:
        components: ``observation_encoder`` with its backbones, perhaps a ``depth_stream`` and a
            ``task_embedding`` (see ``Observer``), and ``action_decoder``.
        interface: What the policy sees and does.
        loss: Compares the velocity with action - noise.
        flow: Training times and solver.
        depth_weight: Weight of the depth's loss.
    """

    def __init__(
        self,
        components: nn.ModuleDict,
        interface: Interface,
        loss: Loss,
        *,
        flow: Flow = DEFAULT_FLOW,
        depth_weight: PositiveFloat = 0.1,
    ) -> None:
        super().__init__()
        self.observer = Observer(components, interface, others=["action_decoder"])
        self.components = components
        self.loss = loss
        self.flow = flow
        self.depth_weight = depth_weight
        stream = self.observer.depth_stream
        depth_keys = [DEPTH_PREFIX + stream.camera] if stream and stream.estimates else []
        self.needs = (*self.observer.needs, *depth_keys)
        check_decoder(self.decoder, interface, self.observer)

    @property
    def decoder(self) -> VelocityDecoder:
        """The component that predicts velocities."""
        return component(self.components, "action_decoder", VelocityDecoder)

    def compute_loss(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return the velocity's masked loss, and the depth's times its weight."""
        batch = self.normalizer.normalize(batch)
        sample = self.flow.draw(batch[ACTION], progress.generator)
        seen = self.observer.look(batch)
        velocity_bha = self._velocity(seen.tokens_bnd)(sample.x_t, sample.t)
        output = self.loss(velocity_bha, sample.dx_t, ~batch[ACTION_IS_PAD])
        stream = self.observer.depth_stream
        if stream is None or seen.depth_bo1hw is None:
            return output
        depth = scale_invariant_log_loss(
            seen.depth_bo1hw.flatten(0, 1), batch[DEPTH_PREFIX + stream.camera].flatten(0, 1)
        )
        return LossOutput(
            output.loss + self.depth_weight * depth,
            output.weight,
            {"velocity": output.loss, "depth": depth},
        )

    def predict_action(
        self, observation: Batch, state: State, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, State]:
        """Return a chunk integrated from noise, in real units."""
        memory_bnd = self.observer(self.normalizer.normalize(observation))
        noise_bha = randn_rows(
            (self.decoder.chunk, self.decoder.action), generators, memory_bnd.device
        )
        action_bha = self.flow.sample(self._velocity, noise_bha, memory_bnd)
        return self.normalizer.unnormalize_action(action_bha, observation), state

    def _velocity(self, memory_bnd: Tensor) -> Velocity:
        """Return the velocity field given observation tokens."""
        memory = self.decoder.remember(memory_bnd)
        return lambda x_bha, time_b: self.decoder(x_bha, time_b, memory).float()
