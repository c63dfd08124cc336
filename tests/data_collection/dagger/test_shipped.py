"""Every shipped YAML that collects data or runs DAgger fits the schemas, and what it names."""

from pathlib import Path

import pytest

from data_collection.dagger.collect_yaml import CollectYaml
from data_collection.dagger.folder import ExperimentFolder
from data_collection.dagger.schema import DaggerConfig
from data_collection.dagger.steps import DaggerSteps
from data_collection.rendering.generators import generators
from data_collection.schema import CollectConfig
from data_collection.teachers import teachers
from trainer.config import load_config
from trainer.registry import environments, load_plugins
from trainer.signature import check_spec

ROOT = Path(__file__).parents[3]


def shipped(pattern):
    found = sorted((ROOT / "experiment_training").glob(pattern))
    assert found
    return [pytest.param(path, id="/".join(path.parts[-3:-1])) for path in found]


def check_round(path):
    """Raise ConfigError when what a round names is not there, or takes no such parameters."""
    loaded = load_config(path, CollectConfig)
    config, supplied = loaded.config, {"root": loaded.root}
    load_plugins(config.plugins, loaded.root)
    check_spec(environments, config.environment, loaded.under("environment"), supplied)
    check_spec(teachers, config.teacher, loaded.under("teacher"), supplied)
    for driver in config.drivers:
        if driver.teacher:
            check_spec(teachers, driver.teacher, loaded.under("drivers"), supplied)
    if config.generated:
        check_spec(generators, config.generated.generator, loaded.under("generated"), supplied)


@pytest.mark.parametrize("path", shipped("data_collection/*/*/collect.yaml"))
def test_a_collection_is_sound(path):
    check_round(path)


@pytest.mark.parametrize("path", shipped("dagger/*/*/dagger.yaml"))
def test_a_dagger_experiment_is_sound(path, tmp_path):
    needs_expert = 'path: "???"' in path.read_text()
    loaded = load_config(path, DaggerConfig, ["teacher.params.path=expert.pkl"] * needs_expert)
    load_plugins(loaded.config.plugins, loaded.root)
    DaggerSteps(loaded, tmp_path).check()
    check_round(CollectYaml(loaded, ExperimentFolder(tmp_path)).save(0, None, chunk=1))
