"""What the reference says of the YAML, and what the schema takes."""

import re
from pathlib import Path

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

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "dagger_yaml.md"
SECTIONS = {
    "phase1": Phase1Config,
    "phase2": Phase2Config,
    "train": DaggerTrainConfig,
    "evaluation": DaggerEvaluationConfig,
    "generated": GeneratedConfig,
}


def documented(section):
    """Return the keys in the first column of a section's table; '' comes before all sections."""
    parts = re.split(r"^## `?(\w+)`?.*$", f"## top\n{REFERENCE.read_text()}", flags=re.MULTILINE)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    cells = re.findall(r"^\| (`.+?) \|", texts[section or "top"], re.MULTILINE)
    return [key for cell in cells for key in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_the_reference_has_every_key_of_the_schema_and_no_other(section):
    expected = set(SECTIONS.get(section, DaggerConfig).model_fields)
    if not section:
        expected -= SECTIONS.keys() - {"generated"}
    if "sources" in expected:
        expected |= {f"sources[].{name}" for name in SourceConfig.model_fields}
    if "labels" in expected:
        expected = expected - {"labels"} | {f"labels.{name}" for name in LabelConfig.model_fields}
    assert sorted(documented(section)) == sorted(expected)
