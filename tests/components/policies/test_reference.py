"""What the reference says of the policies' keys, and what their constructors take."""

import inspect
import re

import pytest

from components.losses import huber, l1, l2, masked_velocity  # noqa: F401 - registers them
from components.models.flow import Flow
from components.policies import (  # noqa: F401 - registers them
    act,
    behavior_cloning,
    cfg_vqvae_flow_matching,
    diffusion_policy,
    mutual_information_estimator,
    naive_flow_matching_policy,
    recurrent_cloning,
    variational_flow_matching_policy,
    vfp_single_expert,
)
from tests.support.reference import REFERENCE, documented
from trainer.registry import losses, policies

PAGE = (REFERENCE / "policies.md").read_text()
POLICIES = sorted(REFERENCE.parents[1].glob("components/policies/[a-z]*.py"))
LOSSES = sorted(REFERENCE.parents[1].glob("components/losses/[a-z]*.py"))


def written(default):
    if default is None:
        return "–"
    if isinstance(default, Flow):
        return "below"
    return f"`{default}`" if isinstance(default, str) else f"{default:g}"


@pytest.mark.parametrize("name", [path.stem for path in POLICIES])
def test_it_has_every_key_of_a_policy_with_its_default_and_no_other(name):
    rows = re.findall(rf"^\| `{name}` \| `(\w+)` \| (.+?) \| .+ \|$", PAGE, re.MULTILINE)
    parameters = inspect.signature(policies.get(name)).parameters
    expected = [
        (key, written(parameter.default))
        for key, parameter in parameters.items()
        if key not in ("components", "interface", "loss")
    ]
    assert sorted(rows) == sorted(expected)


def test_it_has_every_key_of_flow_matching():
    assert documented("policies.md", "Flow") == list(Flow.model_fields)


@pytest.mark.parametrize("name", [path.stem for path in LOSSES])
def test_it_has_every_loss_and_its_keys(name):
    section = PAGE.partition("## Losses")[2].partition("\n## ")[0]
    assert f"`{name}`" in section
    if name not in ("sinkhorn", "moe_gating"):
        for key in inspect.signature(losses.get(name)).parameters:
            assert f"`{key}` (" in section
