"""Gaussian latents.

Shape legend: B batch, Z latent.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution with a diagonal covariance for each row; both tensors are (B, Z)."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, generator: torch.Generator) -> Tensor:
        """Return a draw (B, Z) through which gradients flow: mean + standard deviation · noise."""
        noise = torch.randn(self.mean.shape, generator=generator, device=generator.device)
        return self.mean + (0.5 * self.log_variance).exp() * noise.to(self.mean)

    def divergence(self) -> Tensor:
        """Return the divergence (B,) of this from the standard normal distribution, in nats.

        Source: Kingma and Welling, Auto-Encoding Variational Bayes, 2014, appendix B.
        """
        variance = self.log_variance.exp()
        return 0.5 * (self.mean.square() + variance - 1 - self.log_variance).sum(dim=-1)
