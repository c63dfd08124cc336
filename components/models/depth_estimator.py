"""A small depth decoder on a backbone's tokens, trained along with the policy.

Shape legend: n pictures, T tokens of one picture, P patch positions, D width.
"""

import math

import torch
from einops import rearrange
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from components.models.depth_stream import DepthStream, DepthView
from trainer.errors import ConfigError
from trainer.registry import models


@models.register("depth_estimator")
class DepthEstimator(DepthStream):
    """Decodes the tokens of one camera to a coarse depth picture, and keeps what it decoded from.

    The tokens are one that sums the picture up, then a square of positions; each position gets a
    pixel block of the estimate. The decoder's features are the tokens of the stream.

    Args:
        camera: The camera it looks through.
        tokens: Tokens that the camera's backbone makes of one picture.
        token_dim: Width of those tokens, and of the stream's.
        hidden: Width of the decoder.
        block: Estimated pixels along each side of a position.
        near: Smallest depth that can be estimated, in metres.
    """

    estimates = True

    def __init__(
        self,
        *,
        camera: str,
        tokens: PositiveInt,
        token_dim: PositiveInt,
        hidden: PositiveInt,
        block: PositiveInt = 4,
        near: PositiveFloat = 0.01,
    ) -> None:
        super().__init__()
        self.side = math.isqrt(tokens - 1)
        if self.side**2 != tokens - 1 or not self.side:
            raise ConfigError(
                f"depth_estimator.tokens: expected one summary and a square of positions, "
                f"got {tokens}"
            )
        self.camera, self.tokens, self.token_dim = camera, tokens, token_dim
        self.block = block
        self.near = near
        self.features = nn.Sequential(
            nn.LayerNorm(token_dim),
            nn.Linear(token_dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, token_dim),
        )
        self.log_depth = nn.Linear(token_dim, block**2)

    def forward(self, images_nchw: Tensor, tokens_ntd: Tensor) -> DepthView:
        """Return tokens like the given ones and a depth (n, 1, side · block, side · block)."""
        features_ntd = self.features(tokens_ntd)
        log_depth_npk = self.log_depth(features_ntd[:, 1:]).float()
        log_depth_n1hw = rearrange(
            log_depth_npk, "n (i j) (y x) -> n 1 (i y) (j x)", i=self.side, y=self.block
        )
        return DepthView(features_ntd, self.near + log_depth_n1hw.exp())


def scale_invariant_log_loss(
    estimate_n1hw: Tensor, depth_n1hw: Tensor, *, variance_weight: float = 0.85
) -> Tensor:
    """Return sqrt(mean d² - ``variance_weight`` · (mean d)²) over pixels, d = log estimate - log.

    The recorded depth is averaged down to the estimate's size; pixels without depth (0) are left
    out. Source: Eigen et al., Depth Map Prediction from a Single Image, 2014, eq. 4, as the root
    that Bhat et al., AdaBins, 2021, eq. 6 take.
    """
    depth = nn.functional.interpolate(depth_n1hw, estimate_n1hw.shape[-2:], mode="area")
    whole = nn.functional.interpolate((depth_n1hw > 0).float(), depth.shape[-2:], mode="area") == 1
    difference = estimate_n1hw.log() - depth.clamp(min=1e-6).log()
    difference = torch.where(whole, difference, difference.new_zeros(()))
    count = whole.sum().clamp(min=1)
    mean, square = difference.sum() / count, difference.square().sum() / count
    return (square - variance_weight * mean.square()).clamp(min=1e-12).sqrt()
