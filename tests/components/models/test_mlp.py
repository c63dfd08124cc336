import pytest
import torch
from torch import nn

from components.models.mlp import MLP


def test_each_layer_may_have_a_width_of_its_own():
    trunk = MLP(inputs=3, width=[5, 4, 2], activation="elu")
    shapes = [tuple(m.weight.shape) for m in trunk.modules() if isinstance(m, nn.Linear)]
    assert shapes == [(5, 3), (4, 5), (2, 4)]
    assert trunk.features == 2


def test_an_elu_in_place_has_the_gradient_of_an_elu():
    torch.manual_seed(0)
    trunk = MLP(inputs=3, width=[5], activation="elu").double()
    linear = next(m for m in trunk.modules() if isinstance(m, nn.Linear))
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(trunk(x).square().sum(), x)
    expected = nn.functional.elu(linear(x))
    (wanted,) = torch.autograd.grad(expected.square().sum(), x)
    torch.testing.assert_close(gradient, wanted)
    torch.testing.assert_close(trunk(x), expected)


@pytest.mark.parametrize("sizes", [{"width": 4}, {"width": [4, 2], "layers": 2}])
def test_one_width_needs_the_number_of_layers_and_a_list_does_not(sizes):
    with pytest.raises(ValueError, match="one width and the number of layers, or a list"):
        MLP(inputs=3, **sizes)
