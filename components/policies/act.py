"""Action Chunking with Transformers.

Shape legend: B batch, H action-chunk steps, A action, Z latent.
"""

from collections.abc import Sequence

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from components.models.chunk_query_decoder import ChunkQueryDecoder
from components.models.contracts import check_fit, component
from components.models.cvae_encoder import CVAEEncoder
from components.models.observer import Observer
from trainer.interfaces import (
    ACTION,
    ACTION_IS_PAD,
    STATE,
    Batch,
    Interface,
    Loss,
    LossOutput,
    Policy,
    Progress,
    State,
)
from trainer.ops import row_mean
from trainer.registry import policies


@policies.register("act")
class ACT(Policy):
    """Reconstructs chunks through a latent that is trained towards a standard normal.

    In training the latent is drawn from a posterior that sees the chunk; a policy acts with the
    prior's mean, zero. Ensembling overlapping chunks is ``evaluation.temporal_ensembling``.
    Source: Zhao et al., Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware, 2023,
    algorithms 1 and 2.

    Args:
        components: ``observation_encoder``, its cameras' backbones (see ``Observer``),
            ``posterior`` (a ``cvae_encoder``) and ``action_decoder`` (``chunk_query_decoder``).
        interface: What the policy sees and does.
        loss: Compares the reconstructed chunk with the target; the paper's is ``l1``.
        kl_weight: Weight of the divergence (nats) between posterior and standard normal.
    """

    def __init__(
        self,
        components: nn.ModuleDict,
        interface: Interface,
        loss: Loss,
        *,
        kl_weight: NonNegativeFloat = 10.0,
    ) -> None:
        super().__init__()
        others = ["posterior", "action_decoder"]
        self.observer = Observer(components, interface, others)
        self.components = components
        self.loss = loss
        self.kl_weight = kl_weight
        self.needs = self.observer.needs
        for name, module in (("posterior", self.posterior), ("action_decoder", self.decoder)):
            check_fit(f"{name}.chunk", module.chunk, interface.chunk)
            check_fit(f"{name}.action", module.action, interface.action)
        check_fit("posterior.state", self.posterior.state, interface.state)
        check_fit("action_decoder.latent", self.decoder.latent, self.posterior.latent)
        check_fit("action_decoder.dim", self.decoder.dim, self.observer.encoder.token_dim)

    @property
    def posterior(self) -> CVAEEncoder:
        """The component that sees the chunk in training."""
        return component(self.components, "posterior", CVAEEncoder)

    @property
    def decoder(self) -> ChunkQueryDecoder:
        """The component that turns observation tokens and a latent into a chunk."""
        return component(self.components, "action_decoder", ChunkQueryDecoder)

    def compute_loss(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return reconstruction error plus weighted divergence, means over the valid elements.

        A row's divergence counts as often as its valid steps, so that the whole is one mean and
        does not depend on how rows are spread over ranks.
        """
        batch = self.normalizer.normalize(batch)
        action_bha, is_pad_bh = batch[ACTION], batch[ACTION_IS_PAD]
        latent = self.posterior(batch[STATE][:, -1], action_bha, is_pad_bh)
        latent_bz = latent.sample(progress.generator)
        chunk_bha = self.decoder(self.observer(batch), latent_bz)
        reconstruction = self.loss(chunk_bha, action_bha, ~is_pad_bh)
        kl = row_mean(latent.divergence(), ~is_pad_bh)
        return LossOutput(
            reconstruction.loss + self.kl_weight * kl,
            reconstruction.weight,
            {"reconstruction": reconstruction.loss, "kl": kl},
        )

    def predict_action(
        self, observation: Batch, state: State, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, State]:
        """Return the chunk of the latent zero, in real units; nothing is drawn."""
        memory_bnd = self.observer(self.normalizer.normalize(observation))
        latent_bz = memory_bnd.new_zeros(len(memory_bnd), self.decoder.latent)
        action_bha = self.decoder(memory_bnd, latent_bz)
        return self.normalizer.unnormalize_action(action_bha, observation), state
