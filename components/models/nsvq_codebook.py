"""A codebook that learns through the noise which stands for its error.

Shape legend: B batch, K codes, L latent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.distributed as dist
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from trainer.registry import models

CopyRows = Callable[[nn.Parameter, Tensor, Tensor], None]
"""Gives rows of a parameter the optimizer's moments of other ones."""

_TINY = 1e-8
_JITTER = 0.01


@dataclass(frozen=True)
class Quantized:
    """Quantised latents (B, L), the codes' indices (B,), and each mean squared error (B,)."""

    latent_bl: Tensor
    index_b: Tensor
    error_b: Tensor


@models.register("nsvq_codebook")
class NSVQCodebook(nn.Module):
    """Vector quantisation by noise substitution.

    In training a latent becomes itself plus noise as long as its distance to the nearest code: that
    has gradients for encoder and codes alike, without a straight-through estimate. Acting, it
    becomes the code. Codes that almost nothing chooses move to others that are chosen.
    Source: Vali & Bäckström, NSVQ: Noise Substitution in Vector Quantization, 2022, eq. 3 and
    section III-B.

    Args:
        codes: K.
        latent: L.
        replace_every: Steps between replacements of dead codes.
        replace_until: No code is replaced from this step on.
        dead_below: A code is dead when it got less than this share of an even share.
    """

    usage: Tensor

    def __init__(
        self,
        *,
        codes: PositiveInt,
        latent: PositiveInt,
        replace_every: PositiveInt = 100,
        replace_until: NonNegativeInt = 2000,
        dead_below: Annotated[float, Field(ge=0, le=1)] = 0.1,
    ) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.randn(codes, latent) / latent**0.5)
        self.replace_every = replace_every
        self.replace_until = replace_until
        self.dead_below = dead_below
        self.register_buffer("usage", torch.zeros(codes, dtype=torch.int64))

    def forward(self, latent_bl: Tensor, generator: torch.Generator | None = None) -> Quantized:
        """Return latents (B, L) quantised: in training, with the generator's noise."""
        latent_bl = latent_bl.float()
        distances_bk = torch.cdist(latent_bl.detach(), self.codes.detach().float())
        index_b = distances_bk.argmin(dim=-1)
        code_bl = self.codes.float()[index_b]
        error_b = (latent_bl - code_bl).square().mean(dim=-1)
        if generator is None:
            return Quantized(code_bl, index_b, error_b)
        if self.training:
            self._count(index_b)
        noise = torch.randn(latent_bl.shape, generator=generator, device=generator.device)
        noise = noise.to(latent_bl)
        direction = noise / noise.norm(dim=-1, keepdim=True).clamp(min=_TINY)
        length_b1 = (error_b * latent_bl.shape[-1]).clamp(min=_TINY).sqrt()[:, None]
        return Quantized(latent_bl + length_b1 * direction, index_b, error_b)

    @torch.no_grad()
    def replace_dead(self, step: int, copy_rows: CopyRows) -> None:
        """Move dead codes to chosen ones, after the step with this zero-based index.

        All ranks do the same: their counts are summed, and chance comes from the step alone.
        """
        if (step + 1) % self.replace_every or step >= self.replace_until:
            return
        share_k = self.usage / self.usage.sum().clamp(min=1)
        dead_k = share_k < self.dead_below / len(share_k)
        self.usage.zero_()
        if not dead_k.any() or dead_k.all():
            return
        generator = torch.Generator().manual_seed(step)
        dead = dead_k.nonzero()[:, 0]
        chosen = torch.multinomial(
            (share_k * ~dead_k).cpu(), len(dead), replacement=True, generator=generator
        )
        jitter = torch.randn(len(dead), self.codes.shape[1], generator=generator).to(self.codes)
        chosen = chosen.to(dead.device)
        found = self.codes[chosen]
        self.codes[dead] = found + _JITTER * found.norm(dim=-1, keepdim=True) * jitter
        # The chosen code's moments, not zeros: late in training, when the bias correction is over,
        # a second moment of zero would make the first steps many times too long.
        copy_rows(self.codes, dead, chosen)

    @torch.no_grad()
    def _count(self, index_b: Tensor) -> None:
        """Count what all ranks chose."""
        # Not bincount: it asks the device for the largest index, and the host would wait.
        counts = torch.zeros_like(self.usage).scatter_add_(0, index_b, torch.ones_like(index_b))
        if dist.is_initialized():
            dist.all_reduce(counts)
        self.usage += counts
