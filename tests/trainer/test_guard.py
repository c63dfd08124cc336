from pathlib import Path

import pytest
import torch
from torch import nn

from trainer.guard import GradientGuard, TrainingDivergedError
from trainer.interfaces import LossOutput, Policy

CPU = torch.device("cpu")
SAVE_DIR = Path("runs/x")


class TwoLayers(Policy):
    def __init__(self):
        super().__init__()
        self.components = nn.ModuleDict({"encoder": nn.Linear(3, 4), "head": nn.Linear(4, 2)})

    def compute_loss(self, batch, progress):
        hidden = self.components["encoder"](batch["x"])
        loss = self.components["head"](hidden).square().mean()
        return LossOutput(loss, torch.tensor(1.0))

    def predict_action(self, observation, state, generators):
        raise AssertionError("it never acts")


@pytest.fixture
def policy():
    torch.manual_seed(0)
    policy = TwoLayers()
    policy.compute_loss({"x": 10 * torch.randn(5, 3)}, None).loss.backward()
    return policy


def gradients(policy):
    return [p.grad.clone() for p in policy.parameters() if p.grad is not None]


def test_gradients_are_clipped_to_the_global_norm(policy):
    before = gradients(policy)
    norm = torch.cat([g.flatten() for g in before]).norm()
    assert norm > 0.5
    guard = GradientGuard(policy, 0.5, CPU)
    guard.clip(0, torch.tensor(1.0), None)
    assert guard.norm == pytest.approx(norm.item(), rel=1e-6)
    for clipped, original in zip(gradients(policy), before, strict=True):
        torch.testing.assert_close(clipped, original * 0.5 / norm)


def test_gradients_are_scaled_before_they_are_clipped(policy):
    before = gradients(policy)
    GradientGuard(policy, None, CPU).clip(0, torch.tensor(1.0), torch.tensor(0.25))
    for scaled, original in zip(gradients(policy), before, strict=True):
        torch.testing.assert_close(scaled, original * 0.25)


def test_parameters_without_a_gradient_do_not_disturb_the_others(policy):
    policy.components["encoder"].bias.grad = None
    guard = GradientGuard(policy, None, CPU)
    guard.clip(0, torch.tensor(1.0), None)
    guard.check(SAVE_DIR)
    rest = torch.cat([g.flatten() for g in gradients(policy)])
    assert guard.norm == pytest.approx(rest.norm().item(), rel=1e-6)


def test_a_bad_step_and_its_components_are_named(policy):
    guard = GradientGuard(policy, 1.0, CPU)
    guard.clip(6, torch.tensor(1.0), None)
    guard.check(SAVE_DIR)
    policy.components["head"].weight.grad[0, 0] = torch.inf
    # Clipping spreads what is not finite over all gradients; the record knows where it was.
    guard.clip(7, torch.tensor(1.0), None)
    with pytest.raises(TrainingDivergedError, match="at step 7: not finite are head ") as raised:
        guard.check(SAVE_DIR)
    assert "encoder" not in str(raised.value)
    assert "the newest checkpoint lies in runs/x" in str(raised.value)


def test_a_bad_loss_is_named_even_when_no_gradient_is(policy):
    guard = GradientGuard(policy, 1.0, CPU)
    guard.clip(3, torch.tensor(torch.inf), None)
    with pytest.raises(TrainingDivergedError, match="at step 3: not finite are the loss itself"):
        guard.check(SAVE_DIR)


def test_gradients_that_stay_infinite_in_fp16_are_no_overflow(policy):
    guard = GradientGuard(policy, 1.0, CPU, may_overflow=True)
    policy.components["head"].weight.grad[0, 0] = torch.nan
    guard.clip(40, torch.tensor(1.0), None)
    guard.check(SAVE_DIR, 1.0)  # a scaler skips such a step, and halves its scale
    with pytest.raises(
        TrainingDivergedError, match=r"by step 40: .* \(by 0.5 now\), so no step is"
    ):
        guard.check(SAVE_DIR, 0.5)
