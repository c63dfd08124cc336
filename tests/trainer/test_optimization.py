import copy

import pytest
import torch
from torch import nn

from components.models.layers import ExpertLinear, ExpertNorm
from trainer.errors import CheckpointError
from trainer.interfaces import OptimizerPlugin, Policy
from trainer.optimization import ExponentialAverage, NamedOptimizer, parameter_groups
from trainer.schema import ComponentOptim


class Adam(OptimizerPlugin):
    def build(self, parameter_groups):
        return torch.optim.Adam(
            [g | {"weight_decay": 0.0} for g in parameter_groups], lr=self.learning_rate(0, 1)
        )

    def learning_rate(self, step, total_steps):
        return 0.1 / (1 + step)


class TwoLinears(Policy):
    def __init__(self, names=("encoder", "head")):
        super().__init__()
        torch.manual_seed(0)
        self.components = nn.ModuleDict({name: nn.Linear(3, 2) for name in names})

    def compute_loss(self, batch, progress):
        raise AssertionError

    def predict_action(self, observation, state, generators):
        raise AssertionError


def descend(policy, optimizer, steps):
    for step in range(steps):
        optimizer.set_learning_rate(step, steps)
        total = sum(c(torch.ones(1, 3)).square().sum() for c in policy.components.values())
        total.backward()
        optimizer.torch.step()
        optimizer.torch.zero_grad()


def test_frozen_components_stay_and_scaled_ones_move_by_their_share():
    policy = TwoLinears()
    before = copy.deepcopy(policy.components.state_dict())
    groups = parameter_groups(policy, {"encoder": ComponentOptim(freeze=True)})
    optimizer = NamedOptimizer(Adam(), policy, groups)
    descend(policy, optimizer, 3)
    after = policy.components.state_dict()
    assert torch.equal(before["encoder.weight"], after["encoder.weight"])
    assert not torch.equal(before["head.weight"], after["head.weight"])


def test_learning_rates_follow_the_recipe_times_the_components_scale():
    policy = TwoLinears()
    groups = parameter_groups(policy, {"encoder": ComponentOptim(lr_scale=0.1)})
    optimizer = NamedOptimizer(Adam(), policy, groups)
    optimizer.set_learning_rate(1, 10)
    assert [g["lr"] for g in optimizer.torch.param_groups] == pytest.approx(
        [0.005, 0.005, 0.05, 0.05]
    )


def test_only_matrices_are_decayed_and_overrides_apply_to_them():
    groups = parameter_groups(TwoLinears(), {"head": ComponentOptim(weight_decay=0.3)})
    assert [(g["params"][0].ndim, g["weight_decay"]) for g in groups] == [
        (2, None),
        (1, 0.0),
        (2, 0.3),
        (1, 0.0),
    ]


def test_biases_and_scales_of_several_experts_are_not_decayed_either():
    policy = TwoLinears()
    experts = nn.Sequential(ExpertLinear(3, 2, 4), ExpertNorm(2, 4))
    policy.components = nn.ModuleDict({"experts": experts})
    decayed, others = parameter_groups(policy, {})
    assert [p.shape for p in decayed["params"]] == [(4, 3, 2)]
    assert [p.shape for p in others["params"]] == [(4, 2), (4, 2), (4, 2)]
    assert (decayed["weight_decay"], others["weight_decay"]) == (None, 0.0)


def test_state_is_keyed_by_name_and_restores_the_same_steps():
    policy = TwoLinears()
    optimizer = NamedOptimizer(Adam(), policy, parameter_groups(policy, {}))
    descend(policy, optimizer, 2)
    saved, weights = optimizer.state_dict(), copy.deepcopy(policy.state_dict())
    assert set(saved["state"]) == {"encoder.weight", "encoder.bias", "head.weight", "head.bias"}
    other = TwoLinears()
    other.load_state_dict(weights)
    restored = NamedOptimizer(Adam(), other, parameter_groups(other, {}))
    restored.load_state_dict(copy.deepcopy(saved))
    descend(policy, optimizer, 2)
    descend(other, restored, 2)
    assert torch.equal(policy.components["head"].weight, other.components["head"].weight)


def test_a_state_of_other_parameters_is_refused():
    policy, other = TwoLinears(), TwoLinears(("encoder", "decoder"))
    saved = NamedOptimizer(Adam(), policy, parameter_groups(policy, {})).state_dict()
    with pytest.raises(CheckpointError, match=r"decoder\.bias"):
        NamedOptimizer(Adam(), other, parameter_groups(other, {})).load_state_dict(saved)


def test_rows_that_were_put_where_others_are_take_their_moments():
    policy = TwoLinears()
    optimizer = NamedOptimizer(Adam(), policy, parameter_groups(policy, {}))
    descend(policy, optimizer, 2)
    weight = policy.components["head"].weight
    for name in ("exp_avg", "exp_avg_sq"):
        optimizer.torch.state[weight][name][1] = 7.0
        before = optimizer.torch.state[weight][name].clone()
        optimizer.copy_rows(weight, torch.tensor([1]), torch.tensor([0]))
        after = optimizer.torch.state[weight][name]
        assert torch.equal(after[1], before[0])
        assert torch.equal(after[0], before[0])
    assert optimizer.torch.state[weight]["step"] == 2


def test_the_average_follows_its_formula_and_counts_integer_buffers():
    module = nn.BatchNorm1d(2)
    average = ExponentialAverage(module, decay=0.9)
    expected = torch.ones(2)
    for step in range(40):
        with torch.no_grad():
            module.weight.copy_(torch.tensor([float(step), 2.0 * step]))
        module.num_batches_tracked += 1
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * torch.tensor([step, 2.0 * step])
    torch.testing.assert_close(average.values["weight"], expected)
    assert average.values["num_batches_tracked"] == 40
