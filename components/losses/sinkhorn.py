"""Optimal transport between two clouds of (state, action chunk) pairs.

Shape legend: B batch, S state, H action-chunk steps, A action.
"""

import torch
from geomloss import SamplesLoss
from torch import Tensor


def sinkhorn(
    predicted_bha: Tensor,
    target_bha: Tensor,
    state_bs: Tensor,
    *,
    state_weight: float = 0.2,
    blur: float = 0.004,
    scaling: float = 0.5,
) -> Tensor:
    """Return the debiased Sinkhorn divergence between predicted and target pairs.

    Moving a pair costs |a - a'|² + ``state_weight`` · |s - s'|², with the chunk as one vector. So a
    batch of chunks is compared as a set: a prediction may meet the target of a like state.
    Source: Feydy et al., Interpolating between Optimal Transport and MMD using Sinkhorn
    Divergences, 2019, eq. 3; the cost and the defaults are those of variational flow matching.

    Args:
        predicted_bha: Predicted chunks (B, H, A).
        target_bha: The data's chunks (B, H, A).
        state_bs: The states (B, S) of both.
        state_weight: Weight of the states in the cost.
        blur: Square root of the entropic regularisation, in units of the cost's root.
        scaling: By how much the regularisation shrinks in an iteration: nearer to 1 is more exact
            and slower (0.5 is within about 1 %).
    """
    # geomloss moves for |x - y|² / 2.
    state = (2 * state_weight) ** 0.5 * state_bs.float()
    clouds = [
        torch.cat([2**0.5 * chunk.float().flatten(1), state], dim=-1)
        for chunk in (predicted_bha, target_bha)
    ]
    divergence = SamplesLoss("sinkhorn", p=2, blur=blur, scaling=scaling, backend="tensorized")
    # |x - y|² comes from a product of matrices, which autocast would round by more than the blur.
    with torch.autocast(predicted_bha.device.type, enabled=False):
        return divergence(*clouds)
