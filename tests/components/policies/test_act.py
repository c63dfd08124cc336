import pytest
import torch
from torch.distributions import Normal, kl_divergence

from trainer.errors import ConfigError
from trainer.interfaces import ACTION, ACTION_IS_PAD, STATE, Interface, Progress

POINT = Interface(obs_steps=1, chunk=1, control_hz=1.0, state=1, action=1)
"""One observation, one number to do."""


def progress(seed=0):
    return Progress(0, 1, torch.Generator().manual_seed(seed))


def test_loss_is_reconstruction_plus_weighted_divergence_by_hand(act, batch):
    policy = act(kl_weight=0.5)
    output = policy(batch, progress(4))

    posterior = policy.posterior(batch[STATE][:, -1], batch[ACTION], batch[ACTION_IS_PAD])
    normal = Normal(posterior.mean, (0.5 * posterior.log_variance).exp())
    noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(4))
    chunk = policy.decoder(policy.observer(batch), normal.mean + normal.stddev * noise)
    valid = ~batch[ACTION_IS_PAD]
    error = (chunk - batch[ACTION]).abs()[valid].mean()
    divergence = kl_divergence(normal, Normal(0.0, 1.0)).sum(dim=-1)
    kl = (divergence * valid.sum(dim=1)).sum() / valid.sum()
    torch.testing.assert_close(output.metrics["reconstruction"], error)
    torch.testing.assert_close(output.metrics["kl"], kl)
    torch.testing.assert_close(output.loss, error + 0.5 * kl)


def test_acting_decodes_the_latent_zero_and_draws_nothing(act, batch, generators):
    policy = act()
    given = generators(8)
    action, _ = policy.predict_action(batch, {}, given)
    torch.testing.assert_close(
        action, policy.decoder(policy.observer(batch), torch.zeros(8, policy.decoder.latent))
    )
    for used, fresh in zip(given, generators(8), strict=True):
        assert torch.equal(used.get_state(), fresh.get_state())


def test_padded_targets_are_never_trained_on(act, batch):
    losses = []
    for padding in (0.0, 100.0):
        target = batch[ACTION].where(~batch[ACTION_IS_PAD][..., None], padding)
        losses.append(act()(batch | {ACTION: target}, progress()).loss)
    assert torch.equal(losses[0], losses[1])


def test_loss_of_one_batch_of_eight_falls_twentyfold(act, batch, fit):
    policy = act()
    before = policy(batch, progress(9))
    fit(policy, batch, steps=400)
    after = policy(batch, progress(9))
    assert after.loss < before.loss / 20
    assert after.metrics["reconstruction"] < before.metrics["reconstruction"] / 20


def test_the_latent_tells_two_ways_apart_that_start_alike(act, fit):
    """The observation cannot: it is the same for both."""
    policy = act(POINT, kl_weight=1e-3)
    two_ways = {
        STATE: torch.zeros(128, 1, 1),
        ACTION: torch.tensor([-1.0, 1.0]).repeat(64)[:, None, None],
        ACTION_IS_PAD: torch.zeros(128, 1, dtype=torch.bool),
    }
    fit(policy, two_ways, steps=300)
    output = policy(two_ways, progress(9))
    assert output.metrics["reconstruction"] < 0.1
    assert output.metrics["kl"] > 0.5  # ln 2 nats tell two ways apart


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"chunk": 8}, "posterior.chunk: expected 8, got 4"),
        ({"action": 2}, "posterior.action: expected 2, got 3"),
        ({"state": 6}, "posterior.state: expected 6, got 5"),
    ],
)
def test_components_that_do_not_fit_the_interface_are_refused(act, change, complaint):
    policy = act()
    sizes = {"obs_steps": 2, "chunk": 4, "control_hz": 20.0, "state": 5, "action": 3} | change
    with pytest.raises(ConfigError, match=complaint):
        type(policy)(policy.components, Interface(**sizes), policy.loss)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"latent": 9}, "action_decoder.latent: expected 8, got 9"),
        ({"dim": 16}, "action_decoder.dim: expected 32, got 16"),
    ],
)
def test_components_that_do_not_fit_each_other_are_refused(act, change, complaint):
    with pytest.raises(ConfigError, match=complaint):
        act(decoder=change)
