import math

import pytest
import torch
from torch import nn

from components.optimizers.adamw_warmup_cosine import AdamWWarmupCosine


def test_rate_climbs_to_the_peak_and_falls_to_the_final_fraction():
    recipe = AdamWWarmupCosine(lr=2.0, warmup_steps=4, final_lr_fraction=0.1)
    rates = [recipe.learning_rate(step, 15) for step in range(15)]
    assert rates[:5] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])
    assert rates[9] == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))  # half-way between step 4 and 14
    assert rates[14] == pytest.approx(0.2)
    assert recipe.learning_rate(40, 15) == pytest.approx(0.2)


def test_cosine_part_matches_torch():
    recipe = AdamWWarmupCosine(lr=1e-3, warmup_steps=0)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=49)
    for step in range(50):
        assert recipe.learning_rate(step, 50) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        schedule.step()


def test_warmup_below_one_is_a_fraction_of_the_run():
    fraction = AdamWWarmupCosine(lr=1.0, warmup_steps=0.25)
    steps = AdamWWarmupCosine(lr=1.0, warmup_steps=25)
    assert [fraction.learning_rate(s, 100) for s in range(100)] == [
        steps.learning_rate(s, 100) for s in range(100)
    ]


@pytest.mark.parametrize("total", [1, 2, 3])
def test_runs_shorter_than_the_warmup_have_finite_positive_rates(total):
    recipe = AdamWWarmupCosine(lr=1.0, warmup_steps=2, final_lr_fraction=0.5)
    rates = [recipe.learning_rate(step, total) for step in range(total)]
    assert all(math.isfinite(rate) and 0 < rate <= 1 for rate in rates)


def test_first_step_matches_hand_computation_per_group():
    decayed, plain = (nn.Parameter(torch.tensor([2.0])) for _ in range(2))
    recipe = AdamWWarmupCosine(lr=0.1, weight_decay=0.5, eps=1e-12)
    optimizer = recipe.build(
        [
            {"params": [decayed], "lr_scale": 1.0, "weight_decay": None},
            {"params": [plain], "lr_scale": 1.0, "weight_decay": 0.0},
        ]
    )
    decayed.grad, plain.grad = torch.tensor([3.0]), torch.tensor([-3.0])
    optimizer.step()
    # Adam's first step is lr · sign(gradient); decay multiplies by 1 - lr · weight_decay first.
    assert decayed.item() == pytest.approx(2.0 * (1 - 0.1 * 0.5) - 0.1)
    assert plain.item() == pytest.approx(2.1)


def test_groups_keep_their_learning_rate_scale_and_their_own_decay():
    group = {"params": [nn.Parameter(torch.zeros(1))], "lr_scale": 0.1, "weight_decay": 0.3}
    built = AdamWWarmupCosine(lr=1.0, weight_decay=0.5).build([group]).param_groups[0]
    assert (built["lr_scale"], built["weight_decay"]) == (0.1, 0.3)
