import numpy as np
import pytest
import torch

from data_collection.teachers.dense_network import DenseNetwork, DenseTeacher
from trainer.environment import STATE

MEAN, STD = np.array([1.0, -1.0]), np.array([2.0, 0.5])
HIDDEN = np.array([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]]), np.array([0.0, 0.1, 0.2])
OUT = np.array([[1.0], [-1.0], [0.5]]), np.array([0.25])


def test_hand_worked_output():
    # Standardised: (3 - 1) / 2 = 1, (0 + 1) / 0.5 = 2. Hidden before the activation: 2, 4.1, -0.8.
    network = DenseNetwork(MEAN, STD, (HIDDEN, OUT), "relu")
    np.testing.assert_allclose(network(np.array([3.0, 0.0])), [2 - 4.1 + 0 + 0.25])
    network = DenseNetwork(MEAN, STD, (HIDDEN, OUT), "tanh")
    expected = np.tanh(2) - np.tanh(4.1) + 0.5 * np.tanh(-0.8) + 0.25
    np.testing.assert_allclose(network(np.array([3.0, 0.0])), [expected])
    assert network.inputs == 2


@pytest.mark.parametrize(
    ("activation", "module"),
    [("tanh", torch.nn.Tanh), ("relu", torch.nn.ReLU), ("elu", torch.nn.ELU)],
)
def test_it_is_the_network_torch_would_make_of_it(activation, module):
    torch.manual_seed(0)
    reference = torch.nn.Sequential(
        torch.nn.Linear(4, 8), module(), torch.nn.Linear(8, 6), module(), torch.nn.Linear(6, 2)
    ).double()
    layers = tuple(
        (layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in reference[::2]
    )
    network = DenseNetwork(np.zeros(4), np.ones(4), layers, activation)
    for x in torch.randn(20, 4, dtype=torch.float64) * 3:
        np.testing.assert_allclose(network(x.numpy()), reference(x).detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((MEAN, STD, (), "tanh"), "at least one layer"),
        ((MEAN[:1], STD, (HIDDEN, OUT), "tanh"), "the first layer takes 2 numbers"),
        (
            (MEAN, STD, (HIDDEN, (OUT[0][:2], OUT[1])), "tanh"),
            "layer 1 has weights .2, 1. .*gets 3",
        ),
        ((MEAN, STD * np.nan, (HIDDEN, OUT), "tanh"), "not finite"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DenseNetwork(*arguments)


def test_to_the_bit_an_action_is_the_same_whoever_acts_beside(tmp_path):
    rng = np.random.default_rng(0)
    layers = tuple(
        (rng.standard_normal(shape), rng.standard_normal(shape[1]))
        for shape in [(17, 64), (64, 64), (64, 6)]
    )
    file = tmp_path / "expert"
    file.touch()
    teacher = DenseTeacher(DenseNetwork(np.zeros(17), np.ones(17), layers, "tanh"), file)
    observations = [{STATE: state} for state in rng.standard_normal((40, 17)).astype(np.float32)]
    generator = np.random.default_rng()
    together = teacher.act_in_each([(None, seen, generator) for seen in observations])
    for seen, action in zip(observations, together, strict=True):
        np.testing.assert_array_equal(teacher.act(None, seen, generator), action)
        np.testing.assert_allclose(action, teacher._network(seen[STATE]), rtol=1e-5, atol=1e-6)
