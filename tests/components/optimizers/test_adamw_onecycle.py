import pytest
import torch
from torch import nn

from components.optimizers.adamw_onecycle import AdamWOneCycle


@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize(("total", "pct_start"), [(100, 0.3), (37, 0.1), (1000, 0.45), (10, 0.3)])
def test_schedule_is_that_of_torch(anneal, total, pct_start):
    recipe = AdamWOneCycle(
        lr=1e-3, pct_start=pct_start, div_factor=20, final_div_factor=500, anneal=anneal
    )
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=1e-3,
        total_steps=total,
        pct_start=pct_start,
        div_factor=20,
        final_div_factor=500,
        anneal_strategy=anneal,
        cycle_momentum=False,
    )
    for step in range(total):
        expected = schedule.get_last_lr()[0]
        assert recipe.learning_rate(step, total) == pytest.approx(expected, abs=1e-12)
        if step < total - 1:
            optimizer.step()
            schedule.step()


def test_ends_of_the_cycle_by_hand():
    recipe = AdamWOneCycle(lr=1.0, pct_start=0.5, div_factor=10, final_div_factor=100)
    assert recipe.learning_rate(0, 20) == pytest.approx(0.1)
    assert recipe.learning_rate(9, 20) == pytest.approx(1.0)
    assert recipe.learning_rate(19, 20) == pytest.approx(0.001)
    assert recipe.learning_rate(25, 20) == pytest.approx(0.001)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_very_short_runs_have_positive_rates(total):
    recipe = AdamWOneCycle(lr=1.0)
    assert all(0 < recipe.learning_rate(step, total) <= 1 for step in range(total))


def test_optimizer_is_adamw_with_the_recipes_decay():
    group = {"params": [nn.Parameter(torch.zeros(2, 2))], "lr_scale": 1.0, "weight_decay": None}
    optimizer = AdamWOneCycle(lr=1.0, weight_decay=0.7).build([group])
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["weight_decay"] == 0.7
