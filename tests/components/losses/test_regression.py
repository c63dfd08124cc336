"""The three regression losses share one contract: element-wise, reduced by one masked mean."""

import pytest
import torch

from components.losses.huber import Huber
from components.losses.l1 import L1
from components.losses.l2 import L2
from components.losses.masked_velocity import MaskedVelocity

PREDICTION = torch.tensor([[[1.0, -2.0], [0.5, 9.0]], [[0.0, 4.0], [3.0, 3.0]]])
TARGET = torch.zeros_like(PREDICTION)
VALID = torch.tensor([[True, False], [True, True]])  # the row (0.5, 9.0) is padding
BY_HAND = {
    "l2": (L2(), (1 + 4 + 0 + 16 + 9 + 9) / 6),
    "l1": (L1(), (1 + 2 + 0 + 4 + 3 + 3) / 6),
    "masked_velocity": (  # 0.5 to the power of the step, times 1 / mean(1, 0.5)
        MaskedVelocity(discount=0.5),
        ((1 + 4 + 0 + 16) * 4 / 3 + (9 + 9) * 2 / 3) / 6,
    ),
    "huber": (Huber(delta=2.0), (0.5 + 2.0 + 0 + 2 * 3.0 + 2 * 2.0 + 2 * 2.0) / 6),
}
LOSSES = [pytest.param(loss, id=name) for name, (loss, _) in BY_HAND.items()]


@pytest.mark.parametrize(("loss", "expected"), BY_HAND.values(), ids=BY_HAND.keys())
def test_mean_over_valid_elements_matches_hand_computation(loss, expected):
    output = loss(PREDICTION, TARGET, VALID)
    assert output.loss.item() == pytest.approx(expected)
    assert output.weight.item() == 6


@pytest.mark.parametrize("loss", LOSSES)
def test_padding_changes_neither_value_nor_gradient_even_when_not_finite(loss):
    prediction = PREDICTION.clone()
    prediction[0, 1] = float("inf")
    prediction.requires_grad_()
    output = loss(prediction, TARGET, VALID)
    output.loss.backward()
    assert output.loss.item() == pytest.approx(loss(PREDICTION, TARGET, VALID).loss.item())
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad[VALID]).all()
    assert (prediction.grad[VALID] != 0).sum() == 5  # one valid error is zero


@pytest.mark.parametrize("loss", LOSSES)
def test_flipping_the_mask_changes_the_loss(loss):
    assert loss(PREDICTION, TARGET, VALID).loss != loss(PREDICTION, TARGET, ~VALID).loss


@pytest.mark.parametrize("loss", LOSSES)
def test_no_valid_element_gives_zero_loss_and_weight(loss):
    output = loss(PREDICTION, TARGET, torch.zeros_like(VALID))
    assert output.loss == 0
    assert output.weight == 0


def test_huber_joins_its_branches_at_delta():
    huber, valid = Huber(delta=0.5), torch.ones(1, 1, dtype=torch.bool)

    def at(error):
        return huber(torch.full((1, 1, 1), error), torch.zeros(1, 1, 1), valid).loss.item()

    assert at(0.5) == pytest.approx(0.125)
    assert at(0.5001) == pytest.approx(0.125, abs=1e-4)
    assert at(10.0) == pytest.approx(0.5 * (10 - 0.25))
