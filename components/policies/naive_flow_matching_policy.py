"""Plain flow matching over action chunks."""

from torch import nn

from components.models.flow import DEFAULT_FLOW, Flow
from components.models.flow_policy import FlowPolicy
from trainer.interfaces import Batch, Interface, Loss, LossOutput, Progress
from trainer.registry import policies


@policies.register("naive_flow_matching_policy")
class NaiveFlowMatchingPolicy(FlowPolicy):
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
        super().__init__(components, interface, loss, flow)

    def compute_loss(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return the masked loss between predicted velocity and action - noise."""
        batch = self.normalizer.normalize(batch)
        return self.velocity_loss(self.observer(batch), batch, progress.generator)
