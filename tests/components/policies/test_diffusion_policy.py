import math
import sys

import pytest
import torch

from trainer.errors import ConfigError
from trainer.interfaces import ACTION, ACTION_IS_PAD, STATE, Interface, Progress
from trainer.registry import policies
from trainer.schema import ComponentSpec
from trainer.signature import build

POINT = Interface(obs_steps=1, chunk=1, control_hz=1.0, state=1, action=1)
"""One observation, one number to do."""
PREDICTIONS = ("epsilon", "sample", "v_prediction")


def progress(seed=0):
    return Progress(0, 1, torch.Generator().manual_seed(seed))


def signal_shares(steps):
    """The cosine schedule's products of alphas (Nichol and Dhariwal 2021, eq. 17)."""

    def share(t):
        return math.cos((t / steps + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - share(t + 1) / share(t), 0.999) for t in range(steps)]
    return torch.tensor([1 - beta for beta in betas], dtype=torch.float64).cumprod(0).float()


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_loss_is_the_masked_error_of_the_prediction_by_hand(diffusion, batch, prediction_type):
    policy = diffusion(train_steps=20, prediction_type=prediction_type)
    output = policy(batch, progress(4))

    generator = torch.Generator().manual_seed(4)
    hidden = torch.randn(batch[ACTION].shape, generator=generator)
    action = torch.where(batch[ACTION_IS_PAD][..., None], hidden, batch[ACTION])
    timestep = torch.randint(20, (8,), generator=generator)
    noise = torch.randn(batch[ACTION].shape, generator=generator)
    share = signal_shares(20)[timestep][:, None, None]
    noisy = share.sqrt() * action + (1 - share).sqrt() * noise
    target = {
        "epsilon": noise,
        "sample": batch[ACTION],
        "v_prediction": share.sqrt() * noise - (1 - share).sqrt() * batch[ACTION],
    }[prediction_type]
    memory = policy.decoder.remember(policy.observer(batch))
    error = (policy.decoder(noisy, timestep / 20, memory) - target).square()
    torch.testing.assert_close(output.loss, error[~batch[ACTION_IS_PAD]].mean())


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize(
    ("spacing", "visited"), [("leading", [10, 5, 0]), ("trailing", [14, 9, 4])]
)
def test_steps_follow_equation_12_of_ddim(
    diffusion, batch, generators, prediction_type, spacing, visited
):
    policy = diffusion(
        train_steps=15, num_steps=3, prediction_type=prediction_type, timestep_spacing=spacing
    )
    action, _ = policy.predict_action(batch, {}, generators(8))

    shares = signal_shares(15)
    memory = policy.decoder.remember(policy.observer(batch))
    x = torch.stack([torch.randn(4, 3, generator=g) for g in generators(8)])
    for timestep in visited:
        output = policy.decoder(x, torch.full((8,), timestep / 15), memory)
        signal, spread = shares[timestep].sqrt(), (1 - shares[timestep]).sqrt()
        if prediction_type == "epsilon":
            noise, clean = output, (x - spread * output) / signal
        elif prediction_type == "sample":
            noise, clean = (x - signal * output) / spread, output
        else:
            noise, clean = spread * x + signal * output, signal * x - spread * output
        after = shares[timestep - 5] if timestep >= 5 else torch.tensor(1.0)
        x = after.sqrt() * clean + (1 - after).sqrt() * noise
    torch.testing.assert_close(action, x, rtol=1e-4, atol=1e-4)


def test_clipping_bounds_the_predicted_action(diffusion, batch, generators):
    free, _ = diffusion(num_steps=1).predict_action(batch, {}, generators(8))
    bound, _ = diffusion(num_steps=1, clip_sample=0.5).predict_action(batch, {}, generators(8))
    torch.testing.assert_close(bound, free.clamp(-0.5, 0.5))
    assert free.abs().max() > 0.5


@pytest.mark.parametrize("num_steps", [1, 7, 100])
def test_num_steps_is_the_number_of_function_evaluations(diffusion, batch, generators, num_steps):
    policy = diffusion(num_steps=num_steps)
    calls = []
    policy.decoder.register_forward_hook(lambda *_: calls.append(1))
    policy.predict_action(batch, {}, generators(8))
    assert len(calls) == num_steps


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_samples_of_two_ways_to_act_land_on_either_never_between(
    diffusion, generators, fit, prediction_type
):
    policy = diffusion(POINT, num_steps=20, prediction_type=prediction_type)
    target = torch.tensor([-1.0, 1.0]).repeat(64)[:, None, None]
    still = torch.zeros(128, 1, 1)
    pad = torch.zeros(128, 1, dtype=torch.bool)
    fit(policy, {STATE: still, ACTION: target, ACTION_IS_PAD: pad}, steps=500)
    with torch.inference_mode():
        sample, _ = policy.predict_action({STATE: still}, {}, generators(128))
    assert ((sample.abs() - 1).abs() < 0.3).float().mean() > 0.9
    assert 0.3 < (sample > 0).float().mean() < 0.7


def test_loss_of_one_batch_of_eight_falls_twentyfold(diffusion, batch, fit):
    policy = diffusion()
    many = {key: value.repeat(32, *[1] * (value.ndim - 1)) for key, value in batch.items()}
    before = policy(many, progress(9)).loss.item()
    fit(policy, many, steps=400)
    assert policy(many, progress(9)).loss.item() < before / 20


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"chunk": 8}, "action_decoder.chunk: expected 8, got 4"),
        ({"action": 2}, "action_decoder.action: expected 2, got 3"),
    ],
)
def test_decoder_that_does_not_fit_the_interface_is_refused(diffusion, change, complaint):
    policy = diffusion()
    sizes = {"obs_steps": 2, "chunk": 4, "control_hz": 20.0, "state": 5, "action": 3} | change
    with pytest.raises(ConfigError, match=complaint):
        type(policy)(policy.components, Interface(**sizes), policy.loss)


@pytest.mark.parametrize(
    ("num_steps", "spacing", "nearest"),
    [
        (34, "leading", "33 or 49"),  # it would begin at level 66 of 100
        (98, "leading", "50 or 99"),
        (101, "leading", "100"),
        (16, "trailing", "10 or 20"),  # uneven levels, which DDIM takes for even ones
        (99, "trailing", "50 or 100"),
    ],
)
def test_steps_that_ddim_cannot_walk_are_refused(diffusion, num_steps, spacing, nearest):
    expected = f" {num_steps} steps would not take the noise off evenly; {nearest} would$"
    with pytest.raises(ConfigError, match=expected):
        diffusion(train_steps=100, num_steps=num_steps, timestep_spacing=spacing)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_all_steps_that_are_allowed_end_at_the_data_of_an_exact_denoiser(diffusion, spacing):
    """Actions are Gaussian, 0.5 ± 0.1: then the noise in a sample is known in closed form."""
    for num_steps in range(8, 101):
        try:
            policy = diffusion(train_steps=100, num_steps=num_steps, timestep_spacing=spacing)
        except ConfigError:
            continue
        scheduler = policy.scheduler
        scheduler.set_timesteps(num_steps)
        x = torch.randn(4000, generator=torch.Generator().manual_seed(0))
        for t in scheduler.timesteps.tolist():
            kept = scheduler.alphas_cumprod[t]
            noise = (1 - kept).sqrt() * (x - kept.sqrt() * 0.5) / (0.01 * kept + 1 - kept)
            x = scheduler.step(noise, t, x, return_dict=False)[0]
        assert x.mean() == pytest.approx(0.5, abs=0.012), num_steps
        assert x.std() < 0.11, num_steps


def test_unknown_prediction_type_is_refused_before_anything_is_built():
    spec = ComponentSpec(type="diffusion_policy", params={"prediction_type": "noise"})
    with pytest.raises(ConfigError, match=r"params.prediction_type: expected 'epsilon', .*, got"):
        build(policies, spec, "policy", {"components": None, "interface": None, "loss": None})


def test_missing_package_is_named_with_the_extra_that_brings_it(diffusion, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ConfigError, match="needs diffusers; install this project with its diff"):
        diffusion()
