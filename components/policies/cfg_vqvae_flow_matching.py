"""Flow matching guided by one of a few discrete latents that a VQ-VAE finds in the actions.

Shape legend: B batch, H action-chunk steps, A action, N observation tokens, D token width,
L latent, K codes.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor, nn
from torch.nn import functional as F

from components.models.charts import bar_chart, line_chart
from components.models.contracts import VelocityDecoder, check_fit, component
from components.models.flow import DEFAULT_FLOW, Flow, Velocity
from components.models.latent_encoder import LatentEncoder
from components.models.latent_space import LatentSpace
from components.models.nsvq_codebook import NSVQCodebook
from components.models.observer import Observer, check_decoder
from trainer.interfaces import (
    ACTION,
    ACTION_IS_PAD,
    Batch,
    Interface,
    Loss,
    LossOutput,
    OptimizerView,
    Policy,
    Progress,
    State,
)
from trainer.ops import randn_rows, row_mean
from trainer.registry import policies

_GUIDANCE_SWEEP = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)


@policies.register("cfg_vqvae_flow_matching")
class CFGVQVAEFlowMatching(Policy):
    """A posterior picks a code for each action chunk; the flow learns with and without that code.

    The prior learns to predict the code that a slowly moving average of the posterior picks, and is
    sampled when the policy acts. The velocity then is v(nothing) + guidance · (v(code) -
    v(nothing)). Sources: Vali & Bäckström, NSVQ, 2022; Ho & Salimans, Classifier-Free Diffusion
    Guidance, 2022, eq. 6; the averaged target as in Tarvainen & Valpola, Mean Teachers, 2017.

    Args:
        components: ``observation_encoder`` and what belongs to it (see ``Observer``),
            ``posterior``, ``prior`` (its latent: a logit for each code), ``codebook``,
            ``latent_token`` and ``action_decoder``.
        interface: What the policy sees and does.
        loss: Compares the velocity with action - noise.
        flow: Training times and solver.
        guidance: Weight of the code when acting: 1 follows it as in training, more exaggerates it.
        drop: Share of training samples without their code, once it has risen to this.
        drop_steps: Steps over which it rises linearly from 0.
        commitment_weight: Weight of the mean squared error between latent and code.
        prior_weight: Weight of the prior's cross-entropy.
        target_decay: Decay of the posterior's moving average.
    """

    def __init__(
        self,
        components: nn.ModuleDict,
        interface: Interface,
        loss: Loss,
        *,
        flow: Flow = DEFAULT_FLOW,
        guidance: NonNegativeFloat = 1.5,
        drop: Annotated[float, Field(ge=0, le=1)] = 0.5,
        drop_steps: NonNegativeInt = 2000,
        commitment_weight: NonNegativeFloat = 0.25,
        prior_weight: NonNegativeFloat = 1.0,
        target_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    ) -> None:
        super().__init__()
        others = ["posterior", "prior", "codebook", "latent_token", "action_decoder"]
        self.observer = Observer(components, interface, others)
        self.latent = LatentSpace(components, interface, self.observer.encoder.token_dim)
        target = copy.deepcopy(self.latent.posterior).requires_grad_(False)
        self.components = components
        self.components["posterior_target"] = target
        self.loss = loss
        self.flow = flow
        self.guidance = guidance
        self.drop, self.drop_steps = drop, drop_steps
        self.commitment_weight = commitment_weight
        self.prior_weight = prior_weight
        self.target_decay = target_decay
        self.needs = self.observer.needs
        check_decoder(self.decoder, interface, self.observer)
        check_fit("latent_token.can_drop", self.latent.token.can_drop, True)
        codes, size = self.codebook.codes.shape
        check_fit("codebook.latent", size, self.latent.posterior.latent)
        check_fit("prior.latent (codebook.codes)", self.latent.prior.latent, codes)

    @property
    def decoder(self) -> VelocityDecoder:
        """The component that predicts velocities."""
        return component(self.components, "action_decoder", VelocityDecoder)

    @property
    def codebook(self) -> NSVQCodebook:
        """The component that holds the codes."""
        return component(self.components, "codebook", NSVQCodebook)

    def compute_loss(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return the velocity's masked loss, the commitment's and the prior's."""
        batch = self.normalizer.normalize(batch)
        generator = progress.generator
        tokens_bnd, valid_bh = self.observer(batch), ~batch[ACTION_IS_PAD]
        seen = tokens_bnd, batch[ACTION], batch[ACTION_IS_PAD]
        quantized = self.codebook(self.latent.posterior(*seen), generator)
        share = self.drop * min(1.0, progress.step / max(1, self.drop_steps))
        drawn_b = torch.rand(len(tokens_bnd), generator=generator, device=generator.device)
        dropped_b = (drawn_b < share).to(tokens_bnd.device)
        memory_bnd = self.latent.remembered(tokens_bnd, quantized.latent_bl, dropped_b)
        sample = self.flow.draw(batch[ACTION], batch[ACTION_IS_PAD], generator)
        velocity_bha = self._velocity(memory_bnd)(sample.x_t, sample.t)
        output = self.loss(velocity_bha, sample.dx_t, valid_bh)
        with torch.no_grad():
            target = component(self.components, "posterior_target", LatentEncoder)
            code_b = self.codebook(target(*seen)).index_b
        logit_bk = self.latent.prior(tokens_bnd).float()
        prior = row_mean(F.cross_entropy(logit_bk, code_b, reduction="none"), valid_bh)
        commitment = row_mean(quantized.error_b, valid_bh)
        total = output.loss + self.commitment_weight * commitment + self.prior_weight * prior
        used_k = torch.zeros_like(logit_bk[0]).index_fill_(0, quantized.index_b, 1.0)
        metrics = {
            "velocity": output.loss,
            "commitment": commitment,
            "prior": prior,
            "codes_used": used_k.sum(),
        }
        return LossOutput(total, output.weight, metrics)

    def predict_action(
        self, observation: Batch, state: State, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, State]:
        """Return a chunk integrated from noise, guided by a code of the prior, in real units."""
        tokens_bnd = self.observer(self.normalizer.normalize(observation))
        logit_bk = self.latent.prior(tokens_bnd).float()
        # The code with the largest logit plus Gumbel noise is one drawn from the softmax.
        uniform_bk = torch.special.ndtr(randn_rows(logit_bk.shape[1:], generators, logit_bk.device))
        code_b = (logit_bk - (-uniform_bk.clamp(1e-7, 1 - 1e-7).log()).log()).argmax(dim=-1)
        shape = (self.decoder.chunk, self.decoder.action)
        noise_bha = randn_rows(shape, generators, logit_bk.device)
        action_bha = self._act(tokens_bnd, code_b, noise_bha, self.guidance)
        return self.normalizer.unnormalize_action(action_bha, observation), state

    def after_step(self, progress: Progress, optimizer: OptimizerView) -> None:
        """Move dead codes, and the posterior's moving average."""
        self.codebook.replace_dead(progress.step, optimizer.copy_rows)
        slow = tuple(self.components["posterior_target"].parameters())
        fast = tuple(self.latent.posterior.parameters())
        torch._foreach_lerp_(slow, fast, 1 - self.target_decay)

    def pictures(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """Return how often each code is chosen, and what guidance does to the error."""
        batch = self.normalizer.normalize(batch)
        tokens_bnd, action_bha = self.observer(batch), batch[ACTION]
        is_pad_bh = batch[ACTION_IS_PAD]
        code_b = self.codebook(self.latent.posterior(tokens_bnd, action_bha, is_pad_bh)).index_b
        usage_k = torch.bincount(code_b, minlength=len(self.codebook.codes)) / len(code_b)
        generator = torch.Generator().manual_seed(0)
        noise_bha = torch.randn(action_bha.shape, generator=generator).to(action_bha)
        errors = [
            (self._act(tokens_bnd, code_b, noise_bha, weight) - action_bha)[~is_pad_bh]
            .square()
            .mean()
            for weight in _GUIDANCE_SWEEP
        ]
        return {
            "codebook_usage": bar_chart(usage_k, "code", "share of samples"),
            "guidance_sweep": line_chart(
                _GUIDANCE_SWEEP, errors, "guidance", "mean squared error given the right code"
            ),
        }

    def _act(
        self, tokens_bnd: Tensor, code_b: Tensor, noise_bha: Tensor, guidance: float
    ) -> Tensor:
        """Return normalised chunks (B, H, A) guided by codes (B,)."""
        latent_bl = self.codebook.codes[code_b]
        given = self.latent.remembered(tokens_bnd, latent_bl)
        nothing = self.latent.remembered(tokens_bnd, latent_bl, torch.ones_like(code_b).bool())

        def guided(given_bnd: Tensor, nothing_bnd: Tensor) -> Velocity:
            with_code, without = self._velocity(given_bnd), self._velocity(nothing_bnd)

            def velocity(x_bha: Tensor, time_b: Tensor) -> Tensor:
                base_bha = without(x_bha, time_b)
                return base_bha + guidance * (with_code(x_bha, time_b) - base_bha)

            return velocity

        return self.flow.sample(guided, noise_bha, given, nothing)

    def _velocity(self, memory_bnd: Tensor) -> Velocity:
        """Return the velocity field given what is remembered."""
        memory = self.decoder.remember(memory_bnd)
        return lambda x_bha, time_b: self.decoder(x_bha, time_b, memory).float()
