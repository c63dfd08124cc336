import torch

from components.models.mlp import MLP
from components.models.state_encoder import StateEncoder
from trainer.interfaces import STATE


def test_each_history_step_becomes_its_own_token():
    torch.manual_seed(0)
    encoder = StateEncoder(state=5, obs_steps=3, dim=8, hidden=16)
    state = torch.randn(2, 3, 5)
    tokens = encoder({STATE: state})
    assert tokens.shape == (2, encoder.tokens, encoder.token_dim) == (2, 3, 8)
    changed = state.clone()
    changed[:, 1] += 1
    differs = (encoder({STATE: changed}) != tokens).any(dim=-1).any(dim=0)
    assert differs.tolist() == [False, True, False]


def test_the_order_of_history_is_told_apart():
    torch.manual_seed(0)
    tokens = StateEncoder(state=5, obs_steps=2, dim=8, hidden=16)({STATE: torch.ones(1, 2, 5)})
    assert not torch.equal(tokens[:, 0], tokens[:, 1])


def test_mlp_applies_its_layers_in_turn():
    torch.manual_seed(0)
    trunk = MLP(inputs=4, width=6, layers=2)
    x = torch.randn(3, 4)
    first, second = (m for m in trunk.layers if isinstance(m, torch.nn.Linear))
    gelu = torch.nn.functional.gelu
    torch.testing.assert_close(trunk(x), gelu(second(gelu(first(x)))))
    assert trunk.features == 6
