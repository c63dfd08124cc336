import pytest
import torch

from components.models.cvae_encoder import CVAEEncoder


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return CVAEEncoder(
        chunk=4, action=3, state=5, latent=6, dim=16, layers=2, heads=2, feedforward=32
    )


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    is_pad = torch.tensor([[False] * 4, [False] * 2 + [True] * 2])
    state = torch.randn(2, 5, generator=generator)
    return state, torch.randn(2, 4, 3, generator=generator), is_pad


def differs(first, second):
    return [
        (a != b).any(dim=-1).tolist()
        for a, b in ((first.mean, second.mean), (first.log_variance, second.log_variance))
    ]


def test_mean_and_log_variance_are_two_halves_of_what_the_cls_token_becomes(encoder, inputs):
    latent = encoder(*inputs)
    assert latent.mean.shape == latent.log_variance.shape == (2, 6)
    assert not torch.equal(latent.mean, latent.log_variance)
    with torch.no_grad():
        encoder.head.bias[:6] += 1.0
    shifted = encoder(*inputs)
    torch.testing.assert_close(shifted.mean, latent.mean + 1)
    assert torch.equal(shifted.log_variance, latent.log_variance)


def test_the_latent_depends_on_state_and_on_every_action(encoder, inputs):
    state, action, is_pad = inputs
    latent = encoder(state, action, is_pad)
    assert differs(encoder(state + 1, action, is_pad), latent) == [[True, True]] * 2
    for step in range(2):
        other = action.clone()
        other[:, step] += 1
        assert differs(encoder(state, other, is_pad), latent) == [[True, True]] * 2


def test_padded_actions_are_not_looked_at(encoder, inputs):
    state, action, is_pad = inputs
    other = action.masked_fill(is_pad[..., None], 100.0)
    assert differs(encoder(state, other, is_pad), encoder(*inputs)) == [[False, False]] * 2


def test_a_row_of_nothing_but_padding_gives_finite_numbers(encoder, inputs):
    state, action, is_pad = inputs
    latent = encoder(state, action, torch.ones_like(is_pad))
    assert latent.mean.isfinite().all()


def test_the_order_of_actions_is_told_apart(encoder, inputs):
    state, action, is_pad = inputs
    swapped = action[:, [1, 0, 2, 3]]
    assert differs(encoder(state, swapped, is_pad), encoder(*inputs)) == [[True, True]] * 2
