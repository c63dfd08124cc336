from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import pytest
import torch
from pydantic import Field, PositiveFloat
from torch import nn

from trainer.errors import ConfigError
from trainer.interfaces import Interface
from trainer.registry import Registry, UnknownComponentError
from trainer.schema import ComponentSpec
from trainer.signature import build

if TYPE_CHECKING:
    from decimal import Decimal

INTERFACE = Interface(obs_steps=1, chunk=2, control_hz=20.0, state=3, action=1)
registry: Registry[object] = Registry("thing")


@registry.register("model")
class Model(nn.Module):
    def __init__(
        self,
        interface: Interface,
        width: int,
        rate: PositiveFloat = 1.0,
        solver: Literal["euler", "midpoint"] = "euler",
        sizes: tuple[int, ...] = (),
        dropout: Annotated[float, Field(ge=0, lt=1)] | None = None,
        head: ComponentSpec | None = None,
        device: torch.device | None = None,
    ):
        super().__init__()
        if width == 13:
            raise ValueError("a width of 13 brings bad luck")
        self.given = {"interface": interface, "width": width, "rate": rate, "solver": solver}
        self.given |= {"sizes": sizes, "dropout": dropout, "head": head}


@registry.register("plain")
@dataclass
class Plain:
    rate: PositiveFloat = 2.0


@registry.register("empty")
class Empty:
    pass


@registry.register("unresolvable")
class Unresolvable:
    def __init__(self, price: Decimal):
        self.price = price


def at(*path):
    return f"exp.yaml:7: {'.'.join(map(str, ('policy', *path)))}"


def make(key="model", /, **params):
    supplied = {"interface": INTERFACE, "loss": "unused"}
    return build(registry, ComponentSpec(type=key, params=params), at, supplied)


def message(key="model", /, **params):
    with pytest.raises(ConfigError) as caught:
        make(key, **params)
    return str(caught.value)


def test_the_constructor_gets_what_it_names_in_the_annotated_types():
    head = {"type": "mlp", "params": {"x": 1}}
    model = make(width=4, rate=3, sizes=[1, 2], dropout=0, solver="midpoint", head=head)
    assert model.given == {
        "interface": INTERFACE,
        "width": 4,
        "rate": 3.0,
        "solver": "midpoint",
        "sizes": (1, 2),
        "dropout": 0.0,
        "head": ComponentSpec(type="mlp", params={"x": 1}),
    }
    assert type(model.given["rate"]) is float


def test_dataclasses_and_classes_without_a_constructor_are_built_too():
    assert make("plain", rate=1) == Plain(1.0)
    assert isinstance(make("empty"), Empty)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"width": "3"}, 'policy.params.width: expected an integer, got "3"'),
        ({"width": 3.5}, "policy.params.width: expected an integer, got 3.5"),
        ({"width": True}, "policy.params.width: expected an integer, got true"),
        ({"width": None}, "policy.params.width: expected an integer, got null"),
        ({"rate": 0}, "policy.params.rate: expected a value greater than 0, got 0"),
        ({"solver": "rk"}, "policy.params.solver: expected 'euler' or 'midpoint', got \"rk\""),
        ({"sizes": [1, "a"]}, 'policy.params.sizes.1: expected an integer, got "a"'),
        ({"sizes": 3}, "policy.params.sizes: expected a list, got 3"),
        ({"dropout": 1.0}, "policy.params.dropout: expected a value less than 1, got 1.0"),
        ({"device": "cpu"}, "policy.params.device: a value of this type cannot be written in"),
        ({"interface": 3}, "policy.params.interface: given to model by the program; remove it"),
        (
            {"head": {"type": "x", "parms": 1}},
            "policy.params.head.parms: unknown key (did you mean 'params'?)",
        ),
        (
            {"solvr": "euler"},
            "policy.params.solvr: unknown parameter of model (did you mean 'solver'?); "
            "accepted: width, rate, solver, sizes, dropout, head, device",
        ),
    ],
)
def test_a_wrong_parameter_is_named_with_what_was_expected(params, problem):
    assert message(**{"width": 3, **params}).startswith(f"exp.yaml:7: {problem}")


def test_all_wrong_parameters_are_reported_at_once():
    assert message(rate=-1, solvr=1).splitlines() == [
        "exp.yaml:7: policy.params.rate: expected a value greater than 0, got -1",
        "exp.yaml:7: policy.params.solvr: unknown parameter of model (did you mean 'solver'?); "
        "accepted: width, rate, solver, sizes, dropout, head, device",
        "exp.yaml:7: policy.params.width: required by model, but missing",
    ]


def test_a_value_error_of_the_constructor_gets_the_place():
    assert message(width=13) == ("exp.yaml:7: policy.params: model: a width of 13 brings bad luck")


def test_an_unknown_component_gets_the_place():
    with pytest.raises(UnknownComponentError, match=r"^exp.yaml:7: policy.type: no thing named"):
        make("modl")


def test_nothing_is_accepted_where_the_constructor_takes_nothing():
    assert message("empty", x=1).endswith("unknown parameter of empty; accepted: nothing")


def test_an_annotation_that_exists_for_type_checkers_only_is_explained():
    assert "name 'Decimal' is not defined in a constructor annotation" in message("unresolvable")


def test_a_text_can_stand_for_the_place():
    with pytest.raises(ConfigError, match=r"^round_000: environment.params.x: unknown parameter"):
        build(registry, ComponentSpec(type="empty", params={"x": 1}), "round_000: environment")
