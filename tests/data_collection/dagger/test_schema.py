"""What the reference says of the YAML, and what the schema takes."""

import pytest

from data_collection.dagger.schema import (
    DaggerConfig,
    DaggerEvaluationConfig,
    DaggerTrainConfig,
    Phase1Config,
    Phase2Config,
    SourceConfig,
)
from data_collection.generated import GeneratedConfig
from data_collection.schema import LabelConfig
from tests.support.reference import documented

SECTIONS = {
    "phase1": Phase1Config,
    "phase2": Phase2Config,
    "train": DaggerTrainConfig,
    "evaluation": DaggerEvaluationConfig,
    "generated": GeneratedConfig,
}


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_the_reference_has_every_key_of_the_schema_and_no_other(section):
    expected = set(SECTIONS.get(section, DaggerConfig).model_fields)
    if not section:
        expected -= SECTIONS.keys() - {"generated"}
    if "sources" in expected:
        expected |= {f"sources[].{name}" for name in SourceConfig.model_fields}
    if "labels" in expected:
        expected = expected - {"labels"} | {f"labels.{name}" for name in LabelConfig.model_fields}
    assert sorted(documented("dagger_yaml.md", section)) == sorted(expected)


def test_a_section_of_what_is_set_changes_its_values_alone():
    given = {
        "train.steps": 2000,
        "train.checkpoints": {"keep_last": 2},
        "train": {"steps": 200, "loss": {"type": "l1"}, "optimizer": {"params": {"lr": 0.1}}},
        "logging": [],
        "validation": {},
    }
    assert DaggerTrainConfig(config="x.yaml", set=given).set == {
        "train.steps": 200,
        "train.checkpoints": {"keep_last": 2},
        "train.loss": {"type": "l1"},
        "train.optimizer.params.lr": 0.1,
        "logging": [],
        "validation": {},
    }
