"""Which experts act: noisy top-k gating.

Shape legend: B batch, F features, E experts.
"""

from dataclasses import dataclass

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from trainer.errors import ConfigError
from trainer.registry import models


@dataclass(frozen=True)
class Gating:
    """A gate's decisions.

    ``weight_be`` (B, E) sums to 1 over the chosen experts and is 0 elsewhere; ``probability_be``
    (B, E) is the softmax over all of them, ``logit_be`` (B, E) what it is of, without noise.
    """

    weight_be: Tensor
    probability_be: Tensor
    logit_be: Tensor


@models.register("gate")
class Gate(nn.Module):
    """Weighs experts by the features of a sample; all but the ``top_k`` best get nothing.

    Source: Shazeer et al., Outrageously Large Neural Networks, 2017, eqs. 3-5: in training,
    Gaussian noise of a learnt size on the logits lets every expert be chosen now and then.

    Args:
        features: Numbers to decide by.
        experts: How many there are.
        top_k: How many act for a sample.
        temperature: Divides the logits: the larger, the more even the weights.
        noise: Factor of the noise in training; 0 trains without.
    """

    def __init__(
        self,
        *,
        features: PositiveInt,
        experts: PositiveInt,
        top_k: PositiveInt,
        temperature: PositiveFloat = 1.0,
        noise: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        if top_k > experts:
            raise ConfigError(f"top_k: expected at most {experts=}, got {top_k}")
        self.features, self.experts, self.top_k = features, experts, top_k
        self.temperature = temperature
        self.noise = noise
        self.logits = nn.Linear(features, experts)
        if noise:
            self.noise_size = nn.Linear(features, experts)

    def forward(self, features_bf: Tensor, generator: torch.Generator | None = None) -> Gating:
        """Return the decisions for features (B, F); ``generator`` draws the noise of training."""
        logit_be = self.logits(features_bf).float()
        noisy_be = logit_be
        if generator is not None and self.noise:
            noise = torch.randn(logit_be.shape, generator=generator, device=generator.device)
            size_be = nn.functional.softplus(self.noise_size(features_bf).float())
            noisy_be = logit_be + self.noise * size_be * noise.to(logit_be.device)
        scaled_be = noisy_be / self.temperature
        best, index = scaled_be.topk(self.top_k, dim=-1)
        weight_be = torch.zeros_like(scaled_be).scatter(-1, index, best.softmax(dim=-1))
        return Gating(weight_be, scaled_be.softmax(dim=-1), logit_be)
