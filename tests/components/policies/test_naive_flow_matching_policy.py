import pytest
import torch

from trainer.errors import ConfigError
from trainer.interfaces import ACTION, ACTION_IS_PAD, STATE, Interface, Progress

POINT = Interface(obs_steps=1, chunk=1, control_hz=1.0, state=1, action=1)
"""One observation, one number to do."""


def test_loss_is_the_masked_velocity_error_by_hand(flow, batch):
    policy = flow(time_beta=1.5, time_cutoff=0.9)
    output = policy(batch, Progress(0, 1, torch.Generator().manual_seed(4)))

    generator = torch.Generator().manual_seed(4)
    hidden = torch.randn(batch[ACTION].shape, generator=generator)
    action = torch.where(batch[ACTION_IS_PAD][..., None], hidden, batch[ACTION])
    time = 0.9 * (1 - (1 - torch.rand(8, generator=generator)) ** (2 / 3))
    noise = torch.randn(batch[ACTION].shape, generator=generator)
    t = time[:, None, None]
    memory = policy.decoder.remember(policy.observer(batch))
    velocity = policy.decoder((1 - t) * noise + t * action, time, memory)
    error = (velocity - (batch[ACTION] - noise)).square()[~batch[ACTION_IS_PAD]]
    torch.testing.assert_close(output.loss, error.mean())


def test_one_euler_step_adds_the_velocity_at_time_zero_to_the_noise(flow, batch, generators):
    policy = flow(num_steps=1)
    action, _ = policy.predict_action(batch, {}, generators(8))
    noise = torch.stack([torch.randn(4, 3, generator=g) for g in generators(8)])
    memory = policy.decoder.remember(policy.observer(batch))
    velocity = policy.decoder(noise, torch.zeros(8), memory)
    torch.testing.assert_close(action, noise + velocity)


def test_solvers_agree_when_their_steps_are_fine(flow, batch, generators):
    exact, _ = flow(solver="dopri5", tolerance=1e-6).predict_action(batch, {}, generators(8))
    fine, _ = flow(solver="midpoint", num_steps=100).predict_action(batch, {}, generators(8))
    torch.testing.assert_close(fine, exact, rtol=1e-3, atol=1e-3)


def test_samples_of_two_ways_to_act_land_on_either_never_between(flow, generators, fit):
    policy = flow(interface=POINT, num_steps=20)
    target = torch.tensor([-1.0, 1.0]).repeat(64)[:, None, None]
    still = torch.zeros(128, 1, 1)
    pad = torch.zeros(128, 1, dtype=torch.bool)
    fit(policy, {STATE: still, ACTION: target, ACTION_IS_PAD: pad}, steps=500)
    with torch.inference_mode():
        sample, _ = policy.predict_action({STATE: still}, {}, generators(128))
    assert ((sample.abs() - 1).abs() < 0.3).float().mean() > 0.9
    assert 0.3 < (sample > 0).float().mean() < 0.7


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"chunk": 8}, "action_decoder.chunk: expected 8, got 4"),
        ({"action": 2}, "action_decoder.action: expected 2, got 3"),
    ],
)
def test_decoder_that_does_not_fit_the_interface_is_refused(flow, change, complaint):
    policy = flow()
    sizes = {"obs_steps": 2, "chunk": 4, "control_hz": 20.0, "state": 5, "action": 3} | change
    with pytest.raises(ConfigError, match=complaint):
        type(policy)(policy.components, Interface(**sizes), policy.loss)
