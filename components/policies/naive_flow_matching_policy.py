"""Plain flow matching over action chunks."""

from components.models.flow_policy import FlowPolicy
from trainer.interfaces import Batch, LossOutput, Progress
from trainer.registry import policies


@policies.register("naive_flow_matching_policy")
class NaiveFlowMatchingPolicy(FlowPolicy):
    """Learns the velocity from noise to the action chunk along straight paths.

    Source: Lipman et al., Flow Matching for Generative Modeling, 2023, eq. 23. Its parameters are
    those of ``FlowPolicy``.
    """

    def compute_loss(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return the masked loss between predicted velocity and action - noise."""
        batch = self.normalizer.normalize(batch)
        return self.velocity_loss(self.observer(batch), batch, progress.generator)
