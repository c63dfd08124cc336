import pytest
from torch import nn

from components.models.contracts import Trunk, check_components, check_fit, component
from components.models.mlp import MLP
from trainer.errors import ConfigError


def test_missing_and_unused_components_are_named_with_the_nearest_name():
    components = nn.ModuleDict({"obs_encoder": nn.Identity(), "action_decoder": nn.Identity()})
    with pytest.raises(ConfigError) as error:
        check_components(components, ["observation_encoder", "action_decoder"])
    assert "'observation_encoder' is missing" in str(error.value)
    assert "'obs_encoder' is not used (did you mean 'observation_encoder'?)" in str(error.value)


def test_exactly_the_expected_components_are_accepted():
    check_components(nn.ModuleDict({"a": nn.Identity(), "b": nn.Identity()}), ["b", "a"])


def test_component_of_another_kind_is_refused():
    components = nn.ModuleDict({"trunk": MLP(inputs=1, width=1, layers=1), "other": nn.Identity()})
    assert component(components, "trunk", Trunk) is components["trunk"]
    with pytest.raises(ConfigError, match="other: expected a Trunk, got Identity"):
        component(components, "other", Trunk)


def test_sizes_that_disagree_are_named():
    check_fit("head.chunk", 8, 8)
    with pytest.raises(ConfigError, match=r"head.chunk: expected 16, got 8"):
        check_fit("head.chunk", 8, 16)
