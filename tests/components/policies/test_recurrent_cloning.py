import pytest
import torch
from torch import nn

from components.losses.l2 import L2
from components.models.action_head_regression import ActionHeadRegression
from components.models.plain_state import PlainState
from components.models.recurrent_trunk import RecurrentTrunk
from components.policies.recurrent_cloning import RecurrentCloning
from trainer.errors import ConfigError
from trainer.interfaces import ACTION, ACTION_IS_PAD, EPISODE_START, STATE, Interface, Progress

PROGRESS = Progress(0, 1, torch.Generator())


class Twice(nn.Module):
    """A normaliser that doubles states and halves actions, so that forgetting it shows."""

    def normalize(self, batch):
        changed = batch | {STATE: 2 * batch[STATE]}
        return changed | ({ACTION: batch[ACTION] / 2} if ACTION in batch else {})

    def unnormalize_action(self, action, observation):
        return 2 * action


def make(features=6, obs_steps=1, chunk=1):
    torch.manual_seed(0)
    components = nn.ModuleDict(
        {
            "observation_encoder": PlainState(state=3, obs_steps=obs_steps),
            "trunk": RecurrentTrunk(kind="gru", inputs=3, features=6),
            "action_head": ActionHeadRegression(features=features, chunk=chunk, action=2),
        }
    )
    policy = RecurrentCloning(components, Interface(obs_steps, chunk, 50, 3, 2), L2())
    policy.normalizer = Twice()
    return policy


def windows(rows=4, length=5):
    return {
        STATE: torch.randn(rows, length, 3),
        ACTION: torch.randn(rows, length, 2),
        ACTION_IS_PAD: torch.zeros(rows, length, dtype=torch.bool),
        EPISODE_START: torch.rand(rows, length) < 0.3,
        "memory.hidden": torch.randn(rows, 1, 6),
    }


def acted(policy, batch):
    """What the policy does step by step, as in an environment."""
    state, actions = {"hidden": batch["memory.hidden"]}, []
    for step in range(batch[STATE].shape[1]):
        begins = batch[EPISODE_START][:, step, None, None]
        state = {"hidden": torch.where(begins, 0.0, state["hidden"])}
        action, state = policy.predict_action({STATE: batch[STATE][:, step, None]}, state, [])
        actions.append(action[:, 0])
    return torch.stack(actions, dim=1)


def test_the_loss_is_that_of_the_actions_it_takes_step_by_step():
    policy, batch = make(), windows()
    error = (acted(policy, batch) - batch[ACTION]) / 2
    output = policy.compute_loss(batch, PROGRESS)
    torch.testing.assert_close(output.loss, error.square().mean())
    assert float(output.weight) == 4 * 5 * 2


def test_padded_steps_do_not_count():
    policy, batch = make(), windows()
    batch[ACTION_IS_PAD][:, 3:] = True
    error = (acted(policy, batch) - batch[ACTION])[:, :3] / 2
    output = policy.compute_loss(batch, PROGRESS)
    torch.testing.assert_close(output.loss, error.square().mean())
    assert float(output.weight) == 4 * 3 * 2


def test_every_parameter_learns():
    policy = make()
    policy.compute_loss(windows(), PROGRESS).loss.backward()
    for name, parameter in policy.components.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"features": 5}, "action_head.features: expected 6, got 5"),
        ({"obs_steps": 2}, "interface.obs_steps: expected 1, got 2"),
        ({"chunk": 4}, "action_head.chunk: expected 1, got 4"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(ConfigError) as refused:
        make(**sizes)
    assert str(refused.value).startswith(message)
