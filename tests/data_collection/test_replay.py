from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from data_collection.collect import collect_round
from data_collection.episodes import RoundWriter, open_round, pack, seal, write_episode
from data_collection.replay import main, replay
from data_collection.schema import CollectConfig
from trainer.config import load_config
from trainer.errors import ConfigError, DataError

CONFIG = {
    "plugins": [
        "data_collection.envs.meta_world",
        "data_collection.teachers.meta_world_expert",
    ],
    "save_dir": "rounds",
    "seed": 5,
    "episodes": 2,
    "environment": {"type": "meta_world", "params": {"task": "reach-v3"}},
    "teacher": {"type": "meta_world_expert"},
    "drivers": [{"noise": 0.2}],
    "workers": 1,
}


@pytest.fixture(scope="module")
def collected(tmp_path_factory) -> Path:
    """A sealed round of two noisy episodes, collected by a worker process."""
    root = tmp_path_factory.mktemp("project")
    folder = root / "experiment_training" / "data_collection" / "reach" / "exp1"
    folder.mkdir(parents=True)
    (folder / "collect.yaml").write_text(yaml.safe_dump(CONFIG))
    return collect_round(load_config(folder / "collect.yaml", CollectConfig))


@pytest.fixture
def altered(collected, tmp_path):
    """Return a function that makes the round again with one array or config value changed."""

    def make(key=None, config=None, **changes):
        sealed = open_round(collected)
        values = yaml.safe_load(sealed.config_yaml) | (config or {})
        writer = RoundWriter(tmp_path / "altered", yaml.safe_dump(values))
        for number, name in enumerate(sealed.ids):
            arrays = sealed.read_episode(number)
            if key:
                arrays[key][3] += 0.5
            attributes = replace(sealed.manifest[name].attributes, **changes)
            writer.enter(write_episode(tmp_path / "altered", name, arrays, attributes))
        seal(tmp_path / "altered")
        return tmp_path / "altered" / "episodes" / f"{sealed.ids[0]}.h5"

    return make


def test_a_recorded_episode_comes_out_bit_identical(collected, capsys):
    for number, name in enumerate(open_round(collected).ids):
        episode = collected / "episodes" / f"{name}.h5"
        result = replay(episode)
        assert result.is_identical
        assert result.difference is None
        assert result.record.attributes.seed == 5 + number
        assert main([str(episode)]) == 0
        assert f"{name}: bit-identical, {result.record.length} steps" in capsys.readouterr().out


def test_an_episode_of_a_packed_round_is_found(collected, altered):
    episode = altered()
    pack(episode.parent.parent)
    assert not episode.exists()
    assert replay(episode).is_identical


@pytest.mark.parametrize("key", ["observation.state", "reward"])
def test_what_differs_is_named(altered, capsys, key):
    episode = altered(key)
    result = replay(episode)
    assert not result.is_identical
    assert result.difference.endswith("rows differ, the first is 3")
    assert main([str(episode)]) == 1
    assert f"DIFFERENT: {key}: 1 of" in capsys.readouterr().out


def test_another_length_is_named(altered):
    result = replay(altered(config={"max_steps": 4}))
    assert "recorded, " in result.difference
    assert "(4," in result.difference


@pytest.mark.parametrize("who", ["teacher_checkpoint", "driver_checkpoint"])
def test_other_weights_are_named(altered, who):
    result = replay(altered(**{who: "0123"}))
    assert result.difference == f"{who}: 0123 recorded, None now"


def test_which_files_were_loaded_is_no_part_of_the_environment(altered, collected):
    recorded = yaml.safe_load((collected / "config.yaml").read_text())["recorded"]
    episode = altered(config={"recorded": recorded | {"checkpoints": {"teacher": "0123"}}})
    assert replay(episode).is_identical


def test_another_environment_is_refused(altered, collected):
    recorded = yaml.safe_load((collected / "config.yaml").read_text())["recorded"]
    episode = altered(config={"recorded": recorded | {"control_hz": 20.0}})
    with pytest.raises(ConfigError, match=r"another one here:\n  control_hz: saved 20.0, now 80"):
        replay(episode)


def test_an_episode_that_is_not_there_is_named(collected, tmp_path):
    with pytest.raises(DataError, match="no episode 'nobody'; the first is 000_000000"):
        replay(collected / "episodes" / "nobody.h5")
    with pytest.raises(DataError, match="no such round folder"):
        replay(tmp_path / "absent" / "episodes" / "a.h5")


def test_a_round_that_was_not_collected_here_is_refused(make_round):
    folder = make_round()
    with pytest.raises(ConfigError, match=r"only rounds that data_collection\.collect has made"):
        replay(folder / "episodes" / "rollout_000.h5")
