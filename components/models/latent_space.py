"""How a policy comes by a latent: from a posterior in training, from a prior when it acts.

Shape legend: B batch, N observation tokens, D token width, L latent.
"""

import torch
from torch import Tensor, nn

from components.models.contracts import check_fit, component
from components.models.latent_encoder import LatentEncoder
from components.models.latent_token import LatentToken
from trainer.interfaces import Interface


class LatentSpace:
    """The components ``posterior``, ``prior`` and ``latent_token`` of a policy. It owns no weights.

    Args:
        components: All components of the policy.
        interface: What the policy sees and does.
        token_dim: Width of the observation tokens.

    Raises:
        ConfigError: They do not fit each other.
    """

    def __init__(self, components: nn.ModuleDict, interface: Interface, token_dim: int) -> None:
        self._components = components
        for encoder, name in ((self.posterior, "posterior"), (self.prior, "prior")):
            check_fit(f"{name}.memory_dim", encoder.memory_dim, token_dim)
        check_fit("posterior.chunk", self.posterior.chunk, interface.chunk)
        check_fit("posterior.action", self.posterior.action, interface.action)
        check_fit("prior.chunk", self.prior.chunk, None)
        check_fit("latent_token.latent", self.token.latent, self.posterior.latent)
        check_fit("latent_token.memory_dim", self.token.memory_dim, token_dim)

    @property
    def posterior(self) -> LatentEncoder:
        """Sees the observation and the action chunk."""
        return component(self._components, "posterior", LatentEncoder)

    @property
    def prior(self) -> LatentEncoder:
        """Sees the observation alone."""
        return component(self._components, "prior", LatentEncoder)

    @property
    def token(self) -> LatentToken:
        """Makes a token of a latent."""
        return component(self._components, "latent_token", LatentToken)

    def remembered(
        self, tokens_bnd: Tensor, latent_bl: Tensor, dropped_b: Tensor | None = None
    ) -> Tensor:
        """Return the observation tokens and the latent's (B, N + 1, D)."""
        return torch.cat([tokens_bnd, self.token(latent_bl, dropped_b)], dim=1)
