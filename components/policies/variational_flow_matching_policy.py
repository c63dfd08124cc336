"""Variational flow matching: a latent says which way, a gate chooses the experts that know it.

Shape legend: B batch, H action-chunk steps, A action, N observation tokens, D token width,
L latent, E experts.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from components.losses.moe_gating import load_balance, z_loss
from components.losses.sinkhorn import sinkhorn
from components.models.charts import bar_chart
from components.models.contracts import ExpertDecoder, check_fit, component
from components.models.flow import DEFAULT_FLOW, Flow, Velocity
from components.models.gate import Gate
from components.models.latent_space import LatentSpace
from components.models.observer import Observer, check_decoder
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
from trainer.ops import randn_rows, row_mean
from trainer.registry import policies


@policies.register("variational_flow_matching_policy")
class VariationalFlowMatchingPolicy(Policy):
    """Flow matching given a latent that a posterior reads off the action chunk, and experts.

    Posterior and prior are Gaussians whose deviation ``latent_std`` is fixed, so that their
    divergence is the squared distance of their means over 2 · std² (here its mean over the
    latent's numbers). Acting, the latent is drawn from the prior, and the gate decides by it. The
    prediction that optimal transport compares with the data is one Euler step from pure noise.
    Source: Zhai et al., VFP: Variational Flow-Matching
    Policy for Multi-Modal Robot Manipulation, 2025.

    Args:
        components: ``observation_encoder`` and what belongs to it (see ``Observer``),
            ``posterior``, ``prior`` and ``latent_token``, ``gate``, and ``action_decoder`` with
            experts.
        interface: What the policy sees and does.
        loss: Compares the gated velocity with action - noise.
        flow: Training times and solver.
        latent_std: Standard deviation of posterior and prior; 0 makes both points.
        prior_weight: Weight of the mean squared distance between their means.
        transport_weight: Weight of the Sinkhorn divergence; 0 leaves it out.
        transport_state_weight: Weight of states in its cost.
        transport_blur: Its blur.
        balance_weight: Weight of the gate's load balance.
        z_weight: Weight of the gate's z-loss.
    """

    def __init__(
        self,
        components: nn.ModuleDict,
        interface: Interface,
        loss: Loss,
        *,
        flow: Flow = DEFAULT_FLOW,
        latent_std: NonNegativeFloat = 1.0,
        prior_weight: NonNegativeFloat = 1.0,
        transport_weight: NonNegativeFloat = 0.2,
        transport_state_weight: NonNegativeFloat = 0.2,
        transport_blur: PositiveFloat = 0.004,
        balance_weight: NonNegativeFloat = 0.01,
        z_weight: NonNegativeFloat = 0.001,
    ) -> None:
        super().__init__()
        others = ["posterior", "prior", "latent_token", "gate", "action_decoder"]
        self.observer = Observer(components, interface, others)
        self.latent = LatentSpace(components, interface, self.observer.encoder.token_dim)
        self.components = components
        self.loss = loss
        self.flow = flow
        self.latent_std = latent_std
        self.transport_state_weight = transport_state_weight
        self.transport_blur = transport_blur
        self.weights = {
            "prior": prior_weight,
            "balance": balance_weight,
            "gate_z": z_weight,
            "transport": transport_weight,
        }
        self.needs = self.observer.needs
        check_decoder(self.decoder, interface, self.observer)
        # Nothing is ever dropped here, and a weight without a gradient stops several ranks.
        check_fit("latent_token.can_drop", self.latent.token.can_drop, False)
        check_fit("gate.experts", self.gate.experts, self.decoder.experts)
        check_fit("gate.features", self.gate.features, self.latent.prior.latent)
        check_fit("prior.latent", self.latent.prior.latent, self.latent.posterior.latent)

    @property
    def decoder(self) -> ExpertDecoder:
        """The component that predicts each expert's velocity."""
        return component(self.components, "action_decoder", ExpertDecoder)

    @property
    def gate(self) -> Gate:
        """The component that weighs the experts."""
        return component(self.components, "gate", Gate)

    def compute_loss(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return the gated velocity's masked loss, and the other terms times their weights."""
        batch = self.normalizer.normalize(batch)
        generator = progress.generator
        tokens_bnd, valid_bh = self.observer(batch), ~batch[ACTION_IS_PAD]
        posterior_bl = self.latent.posterior(
            tokens_bnd, batch[ACTION], batch[ACTION_IS_PAD]
        ).float()
        noise = torch.randn(posterior_bl.shape, generator=generator, device=generator.device)
        latent_bl = posterior_bl + self.latent_std * noise.to(posterior_bl)
        gating = self.gate(latent_bl, generator)
        velocity = self._velocity(self.latent.remembered(tokens_bnd, latent_bl), gating.weight_be)
        sample = self.flow.draw(batch[ACTION], batch[ACTION_IS_PAD], generator)
        output = self.loss(velocity(sample.x_t, sample.t), sample.dx_t, valid_bh)
        distance_bl = posterior_bl - self.latent.prior(tokens_bnd).float()
        terms = {
            "prior": row_mean(distance_bl.square().mean(dim=-1), valid_bh),
            "balance": load_balance(gating.weight_be, gating.probability_be),
            "gate_z": row_mean(z_loss(gating.logit_be), valid_bh),
        }
        if self.weights["transport"]:
            predicted_bha = sample.x_0 + velocity(sample.x_0, torch.zeros_like(sample.t))
            terms["transport"] = self._transport(predicted_bha, batch)
        total = output.loss + sum(self.weights[name] * term for name, term in terms.items())
        share_e = gating.weight_be.mean(dim=0)
        terms |= {f"expert_{number}": share for number, share in enumerate(share_e)}
        return LossOutput(total, output.weight, {"velocity": output.loss} | terms)

    def predict_action(
        self, observation: Batch, state: State, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, State]:
        """Return a chunk integrated from noise given a latent of the prior, in real units."""
        tokens_bnd = self.observer(self.normalizer.normalize(observation))
        prior_bl = self.latent.prior(tokens_bnd).float()
        noise_bl = randn_rows(prior_bl.shape[1:], generators, prior_bl.device)
        latent_bl = prior_bl + self.latent_std * noise_bl
        shape = (self.decoder.chunk, self.decoder.action)
        action_bha = self.flow.sample(
            self._velocity,
            randn_rows(shape, generators, prior_bl.device),
            self.latent.remembered(tokens_bnd, latent_bl),
            self.gate(latent_bl).weight_be,
        )
        return self.normalizer.unnormalize_action(action_bha, observation), state

    def pictures(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """Return what each expert does on average, as the prior would have it."""
        latent_bl = self.latent.prior(self.observer(self.normalizer.normalize(batch))).float()
        share_e = self.gate(latent_bl).weight_be.mean(dim=0)
        return {"expert_usage": bar_chart(share_e, "expert", "mean weight")}

    def _velocity(self, memory_bnd: Tensor, weight_be: Tensor) -> Velocity:
        """Return the gated velocity field given what is remembered."""
        memory = self.decoder.remember(memory_bnd)

        def velocity(x_bha: Tensor, time_b: Tensor) -> Tensor:
            experts_ebha = self.decoder(x_bha, time_b, memory).float()
            return torch.einsum("be,ebha->bha", weight_be, experts_ebha)

        return velocity

    def _transport(self, predicted_bha: Tensor, batch: Batch) -> Tensor:
        """Return the Sinkhorn divergence to the data; padded steps count as met.

        Not as unknown: beside another sample's steps the last action counts there, repeated.

        Squared distances are means over a chunk's or a state's numbers, as the velocity's loss is,
        so that its weight means the same for any size of them.
        """
        action_bha, state_bs = batch[ACTION], batch[STATE][:, -1]
        predicted_bha = torch.where(batch[ACTION_IS_PAD][..., None], action_bha, predicted_bha)
        chunk_scale = action_bha[0].numel() ** -0.5
        return sinkhorn(
            chunk_scale * predicted_bha,
            chunk_scale * action_bha,
            state_bs.shape[-1] ** -0.5 * state_bs,
            state_weight=self.transport_state_weight,
            blur=self.transport_blur,
        )
