import pytest
import torch
from torch import nn

from components.models.latent_encoder import LatentEncoder
from components.models.latent_space import LatentSpace
from components.models.latent_token import LatentToken
from trainer.errors import ConfigError
from trainer.interfaces import Interface

INTERFACE = Interface(obs_steps=1, chunk=4, control_hz=1.0, state=2, action=3)


def encoder(**changes):
    torch.manual_seed(0)
    sizes = {"memory_dim": 6, "latent": 5, "dim": 8, "layers": 2, "heads": 2, "feedforward": 16}
    return LatentEncoder(**(sizes | changes))


def test_a_prior_sees_the_observation_alone():
    prior, memory = encoder(), torch.randn(2, 3, 6)
    assert prior(memory).shape == (2, 5)
    assert not torch.allclose(prior(memory), prior(memory + torch.randn(6)))


def test_a_posterior_sees_what_is_done_and_when():
    posterior, memory = encoder(chunk=4, action=3), torch.randn(2, 3, 6)
    action = torch.randn(2, 4, 3)
    latent = posterior(memory, action)
    assert latent.shape == (2, 5)
    assert not torch.allclose(latent, posterior(memory, action + 1))
    assert not torch.allclose(latent, posterior(memory, action.flip(1)))


def test_dropped_rows_get_the_token_for_nothing():
    token, latent = LatentToken(latent=5, memory_dim=6), torch.randn(3, 5)
    tokens = token(latent, torch.tensor([False, True, False]))
    torch.testing.assert_close(tokens[1], token.nothing)
    torch.testing.assert_close(tokens[[0, 2], 0], token.project(latent[[0, 2]]))
    assert not hasattr(LatentToken(latent=5, memory_dim=6, can_drop=False), "nothing")


def space(**changes):
    parts = {
        "posterior": encoder(chunk=4, action=3),
        "prior": encoder(),
        "latent_token": LatentToken(latent=5, memory_dim=6),
    }
    return LatentSpace(nn.ModuleDict(parts | changes), INTERFACE, token_dim=6)


def test_the_latent_is_remembered_after_the_observation():
    tokens, latent = torch.randn(2, 3, 6), torch.randn(2, 5)
    remembered = space().remembered(tokens, latent)
    assert remembered.shape == (2, 4, 6)
    assert torch.equal(remembered[:, :3], tokens)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"posterior": encoder()}, "posterior.chunk: expected 4, got None"),
        ({"prior": encoder(chunk=4, action=3)}, "prior.chunk: expected None, got 4"),
        ({"prior": encoder(memory_dim=7)}, "prior.memory_dim: expected 6, got 7"),
        ({"latent_token": LatentToken(latent=4, memory_dim=6)}, "latent_token.latent: expected 5"),
    ],
)
def test_what_does_not_fit_is_refused(change, complaint):
    with pytest.raises(ConfigError, match=complaint):
        space(**change)
