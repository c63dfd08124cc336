"""Flow matching with one expert, on cameras and, if wanted, depth."""

from pydantic import PositiveFloat
from torch import nn

from components.models.depth_estimator import scale_invariant_log_loss
from components.models.flow import DEFAULT_FLOW, Flow
from components.models.flow_policy import FlowPolicy
from trainer.interfaces import DEPTH_PREFIX, Batch, Interface, Loss, LossOutput, Progress
from trainer.registry import policies


@policies.register("vfp_single_expert")
class VFPSingleExpert(FlowPolicy):
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

    teaches_depth = True

    def __init__(
        self,
        components: nn.ModuleDict,
        interface: Interface,
        loss: Loss,
        *,
        flow: Flow = DEFAULT_FLOW,
        depth_weight: PositiveFloat = 0.1,
    ) -> None:
        super().__init__(components, interface, loss, flow=flow)
        self.depth_weight = depth_weight
        stream = self.observer.depth_stream
        if stream and stream.estimates:
            self.needs += (DEPTH_PREFIX + stream.camera,)

    def compute_loss(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return the velocity's masked loss, and the depth's times its weight."""
        batch = self.normalizer.normalize(batch)
        seen = self.observer.look(batch)
        velocity = self.velocity_loss(seen.tokens_bnd, batch, progress.generator)
        stream = self.observer.depth_stream
        if stream is None or seen.depth_bo1hw is None:
            return velocity
        recorded_bo1hw = batch[DEPTH_PREFIX + stream.camera]
        depth = scale_invariant_log_loss(
            seen.depth_bo1hw.flatten(0, 1), recorded_bo1hw.flatten(0, 1)
        )
        return LossOutput(
            velocity.loss + self.depth_weight * depth,
            velocity.weight,
            {"velocity": velocity.loss, "depth": depth},
        )
