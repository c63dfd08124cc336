"""A head that predicts a mixture of Gaussians over action chunks."""

import math
from collections.abc import Sequence

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from components.models.contracts import ActionHead
from trainer.interfaces import Loss, LossOutput
from trainer.ops import randn_rows
from trainer.registry import models

LOW_NOISE_STD = 1e-4


@models.register("action_head_gmm")
class ActionHeadGMM(ActionHead):
    """A mixture of diagonal Gaussians, one weight per mode for the chunk as a whole.

    A mode is a whole chunk, so that a sampled chunk never mixes two ways of doing a task.
    Sources: Bishop, Mixture Density Networks, 1994, eqs. 22-29; low-noise evaluation, the floor of
    the deviations and bounded means as in BC-GMM of Mandlekar et al., What Matters in Learning
    from Offline Human Demonstrations, 2021.

    Args:
        features: Numbers coming from the trunk.
        chunk: Steps of the action chunk.
        action: Size of one action.
        modes: Number of Gaussians.
        min_std: Smallest standard deviation, in normalised units.
        tanh_means: Whether means are bounded to [-1, 1] (for actions scaled by ``min_max``).
        low_noise_eval: Whether a sampled action is its mode's mean, but for a deviation of 1e-4.
    """

    def __init__(
        self,
        *,
        features: PositiveInt,
        chunk: PositiveInt,
        action: PositiveInt,
        modes: PositiveInt = 5,
        min_std: PositiveFloat = 1e-2,
        tanh_means: bool = False,
        low_noise_eval: bool = True,
    ) -> None:
        super().__init__()
        self.features, self.chunk, self.action = features, chunk, action
        self.modes = modes
        self.min_std = min_std
        self.tanh_means = tanh_means
        self.low_noise_eval = low_noise_eval
        self.logits = nn.Linear(features, modes)
        self.means = nn.Linear(features, modes * chunk * action)
        self.stds = nn.Linear(features, modes * chunk * action)

    def forward(self, features_bf: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-weights (B, M), means and standard deviations (B, M, H, A) of the modes."""
        shape = (self.modes, self.chunk, self.action)
        mean = self.means(features_bf).float().unflatten(-1, shape)
        std = F.softplus(self.stds(features_bf).float()).unflatten(-1, shape) + self.min_std
        log_weight = self.logits(features_bf).float().log_softmax(dim=-1)
        return log_weight, mean.tanh() if self.tanh_means else mean, std

    def loss(
        self, features_bf: Tensor, target_bha: Tensor, valid_bh: Tensor, loss: Loss
    ) -> LossOutput:
        """Return the negative log-likelihood per valid element.

        Padded steps are marginalised out. The metric ``likeliest_mode`` is the regression loss of
        the mean of the mode with the largest weight.
        """
        log_weight_bm, mean_bmha, std_bmha = self(features_bf)
        z = (target_bha[:, None] - mean_bmha) / std_bmha
        log_density = -0.5 * z.square() - std_bmha.log() - 0.5 * math.log(2 * math.pi)
        valid_b1h1 = valid_bh[:, None, :, None]
        log_density_bm = log_density.where(valid_b1h1, log_density.new_zeros(())).sum(dim=(2, 3))
        likelihood_b = (log_weight_bm + log_density_bm).logsumexp(dim=-1)
        likeliest = mean_bmha[torch.arange(len(mean_bmha)), log_weight_bm.argmax(dim=-1)]
        regression = loss(likeliest.detach(), target_bha, valid_bh)
        return LossOutput(
            -likelihood_b.sum() / regression.weight.clamp(min=1),
            regression.weight,
            {"likeliest_mode": regression.loss},
        )

    def act(self, features_bf: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Return a chunk sampled from the mixture."""
        log_weight_bm, mean_bmha, std_bmha = self(features_bf)
        noise = randn_rows((1 + self.chunk * self.action,), generators, features_bf.device)
        # The normal distribution function of a normal draw is uniform: it picks the mode.
        uniform_b1 = torch.special.ndtr(noise[:, :1])
        below_bm = log_weight_bm.exp().cumsum(dim=-1) < uniform_b1
        mode_b = below_bm.sum(dim=-1).clamp(max=self.modes - 1)
        rows = torch.arange(len(mode_b), device=mode_b.device)
        std_bha = std_bmha[rows, mode_b]
        if self.low_noise_eval:
            std_bha = torch.full_like(std_bha, LOW_NOISE_STD)
        return mean_bmha[rows, mode_b] + std_bha * noise[:, 1:].unflatten(
            -1, (self.chunk, self.action)
        )
