import torch

from components.models.plain_state import PlainState
from components.models.state_transformer import StateTransformer
from trainer.interfaces import STATE


def test_each_token_depends_on_every_step():
    torch.manual_seed(0)
    encoder = StateTransformer(
        state=3, obs_steps=4, dim=8, hidden=8, layers=1, heads=2, feedforward=16
    )
    state = torch.randn(1, 4, 3, requires_grad=True)
    tokens = encoder({STATE: state})
    assert tokens.shape == (1, encoder.tokens, encoder.token_dim) == (1, 4, 8)
    for token in range(4):
        (gradient,) = torch.autograd.grad(tokens[0, token].square().sum(), state, retain_graph=True)
        assert (gradient.abs().sum(2) > 0).all()


def test_the_plain_state_is_the_state():
    encoder = PlainState(state=3, obs_steps=2)
    state = torch.randn(5, 2, 3)
    assert torch.equal(encoder({STATE: state}), state)
    assert (encoder.tokens, encoder.token_dim) == (2, 3)
    assert list(encoder.parameters()) == []
