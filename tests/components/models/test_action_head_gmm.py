import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from components.losses.l1 import L1
from components.models.action_head_gmm import ActionHeadGMM


def head(**changes):
    torch.manual_seed(0)
    return ActionHeadGMM(**({"features": 7, "chunk": 4, "action": 2, "modes": 3} | changes))


def features(rows=5):
    return torch.randn(rows, 7, generator=torch.Generator().manual_seed(1))


def generators(rows):
    return [torch.Generator().manual_seed(seed) for seed in range(rows)]


def mixture(model, x, steps):
    log_weight, mean, std = model(x)
    modes = Independent(Normal(mean[:, :, :steps], std[:, :, :steps]), 2)
    return MixtureSameFamily(Categorical(logits=log_weight), modes)


def test_loss_is_the_negative_log_likelihood_of_the_valid_steps_per_element():
    model, x = head(), features()
    target = torch.randn(5, 4, 2, generator=torch.Generator().manual_seed(2))
    lengths = [4, 1, 3, 2, 4]
    valid = torch.arange(4) < torch.tensor(lengths)[:, None]
    expected = torch.stack(
        [
            -mixture(model, x[i : i + 1], n).log_prob(target[i : i + 1, :n]).squeeze()
            for i, n in enumerate(lengths)
        ]
    )
    target[~valid] = float("inf")
    output = model.loss(x, target, valid, L1())
    elements = 2 * sum(lengths)
    assert output.weight.item() == elements
    torch.testing.assert_close(output.loss, expected.sum() / elements)


def test_likeliest_mode_is_measured_with_the_experiments_loss():
    model, x = head(), features()
    log_weight, mean, _ = model(x)
    target = mean[torch.arange(5), log_weight.argmax(-1)].detach() + 0.25
    output = model.loss(x, target, torch.ones(5, 4, dtype=torch.bool), L1())
    assert output.metrics["likeliest_mode"].item() == pytest.approx(0.25)
    assert not output.metrics["likeliest_mode"].requires_grad


def test_padding_gets_no_gradient_and_everything_else_does():
    model, x = head(), features().requires_grad_()
    valid = torch.ones(5, 4, dtype=torch.bool)
    valid[2] = False
    target = torch.where(valid[..., None], torch.zeros(5, 4, 2), 1e3)
    model.loss(x, target, valid, L1()).loss.backward()
    assert x.grad is not None
    assert (x.grad != 0).any(dim=1).tolist() == [True, True, False, True, True]
    assert all(p.grad is not None and (p.grad != 0).any() for p in model.parameters())


def test_low_noise_samples_lie_on_whole_modes_with_the_weights_frequencies():
    model = head()
    with torch.no_grad():
        model.logits.weight.zero_()
        model.logits.bias.copy_(torch.tensor([0.2, 0.5, 0.3]).log())
        rows = features(1).expand(2000, -1)
        sample = model.act(rows, generators(2000))
        mean = model(rows)[1]
    distance = (sample[:, None] - mean).abs().amax(dim=(2, 3))
    nearest, mode = distance.min(dim=1)
    assert nearest.max() < 1e-3
    share = torch.bincount(mode, minlength=3) / 2000
    torch.testing.assert_close(share, torch.tensor([0.2, 0.5, 0.3]), rtol=0, atol=0.04)


def test_full_noise_samples_have_the_mixtures_deviation():
    model = head(modes=1, low_noise_eval=False, min_std=0.3)
    with torch.no_grad():
        rows = features(1).expand(4000, -1)
        sample = model.act(rows, generators(4000))
        _, mean, std = model(rows[:1])
    assert std.min() > 0.3
    torch.testing.assert_close(sample.mean(0), mean[0, 0], rtol=0, atol=0.06)
    torch.testing.assert_close(sample.std(0), std[0, 0], rtol=0.06, atol=0)


def test_means_are_bounded_only_on_demand():
    x = 100 * features()
    assert head()(x)[1].abs().max() > 1
    assert head(tanh_means=True)(x)[1].abs().max() <= 1
