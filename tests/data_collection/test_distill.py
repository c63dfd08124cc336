from pathlib import Path

import pytest

from data_collection.distill import _parser


@pytest.mark.parametrize("option", ["--config", "--distill_config"])
def test_the_yaml_is_named_as_the_other_commands_do_or_shorter(option):
    assert _parser().parse_args([option, "a.yaml"]).config == Path("a.yaml")
