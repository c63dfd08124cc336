"""Linear layers and norms, for one network or for several experts at once.

Shape legend: E experts, I inputs, O outputs, D width.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def linear(
    inputs: int, outputs: int, experts: int | None = None, *, bias: bool = True
) -> nn.Module:
    """Return a linear layer; with ``experts``, as many of them side by side."""
    if experts is None:
        return nn.Linear(inputs, outputs, bias=bias)
    return ExpertLinear(inputs, outputs, experts, bias=bias)


def norm(dim: int, experts: int | None = None) -> nn.Module:
    """Return a layer norm; with ``experts``, as many of them side by side."""
    return nn.LayerNorm(dim) if experts is None else ExpertNorm(dim, experts)


class ExpertLinear(nn.Module):
    """E linear layers, each on its own slice of the input, as one batched product of matrices.

    Initialised as ``nn.Linear`` is.

    Args:
        inputs: I.
        outputs: O.
        experts: E.
        bias: Whether there is one.
    """

    undecayed = ("bias",)

    def __init__(self, inputs: int, outputs: int, experts: int, *, bias: bool = True) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(experts, inputs, outputs).uniform_(-bound, bound))
        self.bias = (
            nn.Parameter(torch.empty(experts, outputs).uniform_(-bound, bound)) if bias else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (E, …, O) of (E, …, I)."""
        flat = x.flatten(1, -2)
        if self.bias is None:
            product = torch.bmm(flat, self.weight)
        else:
            product = torch.baddbmm(self.bias[:, None], flat, self.weight)
        return product.unflatten(1, x.shape[1:-1])


class ExpertNorm(nn.Module):
    """E layer norms over the last dimension, each with its own scale and shift.

    Args:
        dim: D.
        experts: E.
    """

    undecayed = ("weight", "bias")

    def __init__(self, dim: int, experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(experts, dim))
        self.bias = nn.Parameter(torch.zeros(experts, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return (E, …, D) of (E, …, D)."""
        shape = (len(x), *[1] * (x.ndim - 2), x.shape[-1])
        normed = F.layer_norm(x, x.shape[-1:])
        return normed * self.weight.view(shape) + self.bias.view(shape)
