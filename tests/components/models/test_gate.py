import pytest
import torch

from components.losses.moe_gating import load_balance, z_loss
from components.models.gate import Gate
from trainer.errors import ConfigError


def identity_gate(**changes):
    gate = Gate(features=3, experts=3, **({"top_k": 2, "temperature": 2.0} | changes))
    gate.logits.weight.data = torch.eye(3)
    gate.logits.bias.data.zero_()
    return gate


def test_the_best_experts_share_the_weight_by_softmax():
    gating = identity_gate()(torch.tensor([[4.0, 0.0, 2.0]]))
    first = torch.sigmoid(torch.tensor(1.0))  # (4 - 2) / temperature
    expected = torch.tensor([[first, 0.0, 1 - first]])
    torch.testing.assert_close(gating.weight_be, expected)
    torch.testing.assert_close(gating.probability_be, torch.tensor([[2.0, 0.0, 1.0]]).softmax(-1))
    torch.testing.assert_close(gating.logit_be, torch.tensor([[4.0, 0.0, 2.0]]))


def test_noise_comes_from_the_generator_and_lets_others_win():
    gate = identity_gate(top_k=1)
    features = torch.tensor([[0.5, 0.0, 0.0]]).expand(200, 3)
    assert (gate(features).weight_be[:, 0] == 1).all()
    noisy = [gate(features, torch.Generator().manual_seed(0)).weight_be for _ in range(2)]
    assert torch.equal(*noisy)
    assert 0.2 < noisy[0][:, 0].mean() < 0.95


def test_more_choices_than_experts_are_refused():
    with pytest.raises(ConfigError, match="top_k: expected at most experts=3, got 4"):
        Gate(features=3, experts=3, top_k=4)


def test_load_balance_is_one_for_even_use_and_the_number_of_experts_for_one():
    even = torch.eye(4)
    torch.testing.assert_close(load_balance(even, even), torch.tensor(1.0))
    one = torch.tensor([[1.0, 0, 0, 0]]).expand(8, 4)
    torch.testing.assert_close(load_balance(one, one), torch.tensor(4.0))
    two = torch.tensor([[0.7, 0.3, 0, 0]])  # both are choices: shares 1/2 and 1/2
    torch.testing.assert_close(load_balance(two, two), torch.tensor(4 * (0.35 + 0.15)))


def test_z_loss_by_hand():
    logits = torch.log(torch.tensor([[1.0, 2.0, 1.0], [0.5, 0.25, 0.25]]))
    torch.testing.assert_close(z_loss(logits).mean(), torch.log(torch.tensor(4.0)).square() / 2)
