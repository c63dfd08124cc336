import math

import pytest
import torch

from components.models.depth_estimator import DepthEstimator, scale_invariant_log_loss
from trainer.errors import ConfigError


def test_each_position_estimates_its_own_block_of_pixels():
    torch.manual_seed(0)
    estimator = DepthEstimator(camera="head", tokens=5, token_dim=6, hidden=8, block=3)
    tokens = torch.randn(2, 5, 6)
    view = estimator(torch.zeros(2, 3, 16, 16), tokens)
    assert view.tokens_ntd.shape == (2, 5, 6)
    assert view.depth_n1hw.shape == (2, 1, 6, 6)
    assert (view.depth_n1hw > 0).all()
    other = tokens.clone()
    other[:, 2] = torch.randn(2, 6)  # after the summary: the position at the top right
    changed = estimator(torch.zeros(2, 3, 16, 16), other).depth_n1hw != view.depth_n1hw
    assert changed[:, :, :3, 3:].all()
    assert changed.sum() == 2 * 9


def test_tokens_must_be_a_summary_and_a_square():
    with pytest.raises(ConfigError, match="a square of positions, got 6"):
        DepthEstimator(camera="head", tokens=6, token_dim=6, hidden=8)


def test_the_loss_by_hand():
    depth = torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]])
    estimate = depth * torch.tensor([[[[1.0, math.e], [math.e, 1.0]]]])
    loss = scale_invariant_log_loss(estimate, depth, variance_weight=0.5)
    assert loss.item() == pytest.approx(math.sqrt(2 / 4 - 0.5 * (2 / 4) ** 2))


def test_a_wrong_scale_costs_less_than_a_wrong_shape():
    depth = torch.rand(1, 1, 4, 4) + 1
    scaled = scale_invariant_log_loss(3 * depth, depth)
    assert scaled.item() == pytest.approx(math.log(3) * math.sqrt(1 - 0.85), rel=1e-4)


def test_recorded_depth_is_averaged_to_the_estimates_size_and_holes_are_left_out():
    depth = torch.tensor([[[[1.0, 3.0, 5.0, 0.0], [1.0, 3.0, 5.0, 5.0]]]])
    estimate = torch.tensor([[[[2.0, 100.0]]]], requires_grad=True)
    loss = scale_invariant_log_loss(estimate, depth)
    assert loss.item() == pytest.approx(1e-6, abs=1e-6)
    loss.backward()
    assert estimate.grad[..., 1].item() == 0
