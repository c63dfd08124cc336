import pytest
import torch
from torch import nn

from components.losses.l1 import L1
from components.models.action_head_gmm import ActionHeadGMM
from components.models.mlp import MLP
from components.policies.behavior_cloning import BehaviorCloning
from trainer.errors import ConfigError
from trainer.interfaces import ACTION, ACTION_IS_PAD, STATE, Interface, Progress

POINT = Interface(obs_steps=1, chunk=1, control_hz=1.0, state=1, action=1)
"""One observation, one number to do."""


def two_ways():
    """Half of the experts go left, half go right."""
    return {
        STATE: torch.zeros(128, 1, 1),
        ACTION: torch.tensor([-1.0, 1.0]).repeat(64)[:, None, None],
        ACTION_IS_PAD: torch.zeros(128, 1, dtype=torch.bool),
    }


def test_regression_goes_between_two_ways_and_a_mixture_takes_one(cloning, generators, fit):
    batch = two_ways()
    mixture = fit(cloning(POINT, head=ActionHeadGMM, modes=2), batch, steps=300)
    average = fit(cloning(POINT), batch, steps=300)
    with torch.inference_mode():
        mean, _ = average.predict_action(batch, {}, generators(128))
        sample, _ = mixture.predict_action(batch, {}, generators(128))
    assert mean.abs().max() < 0.1
    assert (sample.abs() - 1).abs().max() < 0.05
    assert 0.3 < (sample > 0).float().mean() < 0.7


def test_regression_uses_the_experiments_loss(cloning, batch, generators):
    policy = cloning()
    policy.loss = L1()
    action, _ = policy.predict_action(batch, {}, generators(8))
    error = (action - batch[ACTION]).abs()[~batch[ACTION_IS_PAD]]
    output = policy(batch, Progress(0, 1, torch.Generator()))
    torch.testing.assert_close(output.loss, error.mean())


def test_padded_targets_are_never_trained_on(cloning, batch):
    losses = []
    for padding in (0.0, 100.0):
        target = batch[ACTION].where(~batch[ACTION_IS_PAD][..., None], padding)
        losses.append(cloning()(batch | {ACTION: target}, Progress(0, 1, torch.Generator())).loss)
    assert torch.equal(losses[0], losses[1])


def test_components_that_do_not_fit_each_other_are_refused(cloning):
    policy = cloning()
    components = nn.ModuleDict(dict(policy.components.items()))
    components["trunk"] = MLP(inputs=16, width=64, layers=1)  # one step of history, not two
    with pytest.raises(ConfigError, match=r"trunk.inputs: expected 32, got 16"):
        BehaviorCloning(components, Interface(2, 4, 20.0, 5, 3), policy.loss)
