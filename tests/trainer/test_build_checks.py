import pytest

from trainer.build import load_experiment
from trainer.build_checks import check_best
from trainer.errors import ConfigError

EVALUATION = {"environment": {"type": "none"}, "every": 3}


def checked(toy, metric, **changes):
    toy.edit(train__checkpoints={"best": {"metric": metric}}, **changes)
    check_best(load_experiment(toy.config_path))


@pytest.mark.parametrize(
    ("metric", "nearest"),
    [
        ("validation/los", "validation/loss"),
        ("validation/action_mae_dim_3", "validation/action_mae_dim_"),
        ("evaluation/succes_rate", "evaluation/success_rate"),
        ("success_rate", "evaluation/success_rate"),
    ],
)
def test_a_figure_that_no_epoch_will_have_is_refused_with_the_nearest(toy, metric, nearest):
    with pytest.raises(ConfigError, match=f"nothing measures '{metric}' .did you mean '{nearest}"):
        checked(toy, metric, validation={"every": 1}, evaluation=EVALUATION | {"every": 1})


def test_a_figure_of_what_is_not_measured_has_no_nearest(toy):
    with pytest.raises(ConfigError, match="nothing measures 'evaluation/loss'; expected valid"):
        checked(toy, "evaluation/loss", validation={"every": 1})


@pytest.mark.parametrize(
    ("train", "allowed"),
    [
        ({"train__epochs": 12, "train__save_every": 4}, False),  # epoch 12 alone
        ({"train__epochs": 24, "train__save_every": 4}, True),  # epochs 12 and 24
        ({"train__epochs": 12, "train__save_every": 1}, True),
        ({"train__epochs": 12, "train__save_every": 6}, True),
        ({"train__epochs": 3, "train__save_every": 1}, False),
        ({"train__epochs": 12, "train__save_every": 12}, True),  # there is nothing to choose from
        ({"train__epochs": None, "train__steps": 20, "train__save_every": 6}, True),
        ({"train__epochs": None, "train__steps": 18, "train__save_every": 6}, False),
        ({"train__epochs": None, "train__steps": 12, "train__save_every": 12}, True),
    ],
)
def test_the_best_one_is_chosen_from_more_than_the_last(toy, train, allowed):
    changes = train | {"evaluation": EVALUATION}
    if allowed:
        checked(toy, "evaluation/success_rate", **changes)
        return
    with pytest.raises(ConfigError, match="only the last one would be measured"):
        checked(toy, "evaluation/success_rate", **changes)


def test_what_to_set_is_said(toy):
    message = (
        "12 epochs, a checkpoint every 4, and validation/loss every 3; set validation.every to 4 or"
    )
    with pytest.raises(ConfigError, match=message):
        checked(
            toy,
            "validation/loss",
            validation={"every": 3},
            train__epochs=12,
            train__save_every=4,
        )
