import copy

import pytest
import torch
from torch import nn

from components.optimizers.schedule_free_radam import ScheduleFreeRAdam


def train(steps, recipe):
    """A small regression, and a parameter which never gets a gradient."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    idle = nn.Parameter(torch.randn(4))
    optimizer = recipe.build(
        [
            {"params": list(model.parameters()), "lr_scale": 1.0, "weight_decay": None},
            {"params": [idle], "lr_scale": 1.0, "weight_decay": 0.0},
        ]
    )
    x = torch.randn(32, 3)
    for _ in range(steps):
        optimizer.zero_grad()
        (model(x) - x.sum(-1, keepdim=True)).square().mean().backward()
        optimizer.step()
    return model, idle, optimizer


@pytest.mark.parametrize("steps", [0, 1, 30])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.95, 0.99)])
def test_averaged_has_the_bits_of_the_optimizers_own_evaluation_mode(steps, betas):
    recipe = ScheduleFreeRAdam(lr=1e-2, betas=betas, weight_decay=1e-3)
    model, idle, optimizer = train(steps, recipe)
    average = recipe.averaged(optimizer)

    evaluated = copy.deepcopy((optimizer, model, idle))
    evaluated[0].eval()
    parameters = [*model.parameters(), idle]
    assert list(average) == parameters
    for parameter, own in zip(parameters, [*evaluated[1].parameters(), evaluated[2]], strict=True):
        assert torch.equal(average[parameter], own)
    if steps == 30:
        assert not torch.equal(average[model[0].weight], model[0].weight)


def test_taking_the_average_leaves_training_as_it_is():
    recipe = ScheduleFreeRAdam(lr=1e-2)
    model, _, optimizer = train(10, recipe)
    before = [p.detach().clone() for p in model.parameters()]
    for value in recipe.averaged(optimizer).values():
        value.fill_(float("nan"))  # the average shares no memory with the parameters
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    assert optimizer.param_groups[0]["train_mode"]


def test_rate_is_constant_and_weights_are_averaged():
    recipe = ScheduleFreeRAdam(lr=3e-4)
    assert {recipe.learning_rate(step, 100) for step in range(100)} == {3e-4}
    assert recipe.averages_weights


def test_the_average_learns():
    recipe = ScheduleFreeRAdam(lr=2e-2)
    torch.manual_seed(0)
    model, _, optimizer = train(400, recipe)
    with torch.no_grad():
        for parameter, value in recipe.averaged(optimizer).items():
            parameter.copy_(value)
    x = torch.randn(256, 3, generator=torch.Generator().manual_seed(1))
    assert (model(x) - x.sum(-1, keepdim=True)).square().mean() < 0.3  # the targets' variance is 3


def test_rows_that_were_put_elsewhere_are_averaged_from_where_they_are():
    recipe = ScheduleFreeRAdam(lr=1e-2)
    model, _, optimizer = train(30, recipe)
    weight, rows = model[0].weight, torch.tensor([1, 4])
    before = recipe.averaged(optimizer)[weight]
    with torch.no_grad():
        weight[rows] = 7.0
    source = torch.tensor([0, 2])
    recipe.copy_rows(optimizer, weight, rows, source)
    after = recipe.averaged(optimizer)[weight]
    assert torch.equal(after[rows], torch.full((2, 3), 7.0))
    others = [0, 2, 3, 5, 6, 7]
    assert torch.equal(after[others], before[others])
    moments = optimizer.state[weight]["exp_avg_sq"]
    assert torch.equal(moments[rows], moments[source])
    assert moments[rows].all()
