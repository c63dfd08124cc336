"""What keeps a gate from always choosing the same experts, and its logits small.

Shape legend: B batch, E experts.
"""

import torch
from torch import Tensor


def load_balance(weight_be: Tensor, probability_be: Tensor) -> Tensor:
    """Return E · Σ_e f_e · p_e: 1 when all experts are used alike, E when one does everything.

    f_e is the share of all choices that fell on expert e, p_e its mean probability. Source: Fedus
    et al., Switch Transformers, 2021, eqs. 4-6, with top-k choices.
    """
    chosen_be = (weight_be > 0).float()
    share_e = chosen_be.mean(dim=0) / chosen_be.sum(dim=-1).mean()
    return len(share_e) * (share_e * probability_be.mean(dim=0)).sum()


def z_loss(logit_be: Tensor) -> Tensor:
    """Return (log Σ_e exp logit_e)² of each sample (B,).

    Source: Zoph et al., ST-MoE, 2022, eq. 5.
    """
    return torch.logsumexp(logit_be, dim=-1).square()
