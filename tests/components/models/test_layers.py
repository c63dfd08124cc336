import torch
from torch import nn

from components.models.layers import ExpertLinear, ExpertNorm, linear, norm


def test_expert_linear_is_a_linear_layer_for_each_expert():
    torch.manual_seed(0)
    layer = ExpertLinear(5, 7, experts=3)
    x = torch.randn(3, 2, 4, 5)
    expected = [x[e] @ layer.weight[e] + layer.bias[e] for e in range(3)]
    torch.testing.assert_close(layer(x), torch.stack(expected))
    plain = ExpertLinear(5, 7, experts=3, bias=False)
    torch.testing.assert_close(plain(x), torch.einsum("ebti,eio->ebto", x, plain.weight))


def test_expert_linear_starts_as_linear_layers_do():
    torch.manual_seed(0)
    ours, theirs = ExpertLinear(64, 256, experts=8), nn.Linear(64, 256)
    assert ours.weight.abs().max() <= 1 / 8
    torch.testing.assert_close(ours.weight.std(), theirs.weight.std(), rtol=0.05, atol=0)


def test_expert_norm_is_a_layer_norm_for_each_expert():
    torch.manual_seed(0)
    layer = ExpertNorm(6, experts=2)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 4, 6)
    for e in range(2):
        expected = nn.functional.layer_norm(x[e], (6,), layer.weight[e], layer.bias[e])
        torch.testing.assert_close(layer(x)[e], expected)


def test_without_experts_they_are_torchs_own():
    assert type(linear(2, 3)) is nn.Linear
    assert linear(2, 3, bias=False).bias is None
    assert type(norm(2)) is nn.LayerNorm
