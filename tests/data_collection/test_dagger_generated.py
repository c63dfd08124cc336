"""A DAgger experiment whose student sees generated images alone."""

import json
from pathlib import Path

import pytest

from data_collection import dagger_runner
from data_collection.dagger.schema import DaggerConfig
from data_collection.dagger.steps import DaggerSteps
from data_collection.episodes import open_round
from data_collection.prompts import load_prompts
from trainer.config import load_config
from trainer.errors import ConfigError
from trainer.registry import environments
from trainer.signature import build

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "experiment_training/dagger/button_press_generated/exp1/dagger.yaml"
SETTINGS = {
    "phase1.episodes": 2,
    "phase1.max_steps": 18,
    "phase2.rollouts": 1,
    "phase2.max_steps": 18,
    "phase2.render_mode": "simulator",
    "phase2.labels.every": 8,
    "n_rounds": 1,
    "train.set": {
        "train.steps": 2,
        "train.save_every": 2,
        "data.batch_size": 4,
        "logging": [],
    },
    "evaluation.episodes": 1,
    "evaluation.max_steps": 4,
    "evaluation.videos": 1,
    "min_teacher_success": None,
    "workers": 1,
    "environments_per_worker": 1,
}


def arguments(folder, **more):
    values = SETTINGS | {"save_dir": str(folder)} | more
    pairs = [("--set", f"{key}={json.dumps(value)}") for key, value in values.items()]
    return ["--dagger_config", str(CONFIG), *(a for pair in pairs for a in pair)]


@pytest.mark.slow
def test_every_phase_has_the_images_that_it_asks_for(tmp_path):
    folder = tmp_path / "run"
    assert dagger_runner.main(arguments(folder)) == 0
    first, second = (open_round(folder / "data" / f"round_{number:03d}") for number in range(2))
    prompts = set(map(str, load_prompts(ROOT / "data_collection/prompts/interiors.jsonl").prompts))
    assert "generated.valid.left" in first.keys
    assert {record.attributes.prompt for record in first.manifest.values()} <= prompts
    assert "generated.valid.left" not in second.keys
    assert {record.attributes.prompt for record in second.manifest.values()} == {None}
    assert sorted(folder.glob("videos/round_001/*.mp4"))
    figures = json.loads((folder / "rounds" / "001.json").read_text())
    assert figures["evaluation"]["episodes"] == 1


def test_a_student_is_evaluated_under_prompts_of_its_own(tmp_path):
    loaded = load_config(CONFIG, DaggerConfig)
    environment = DaggerSteps(loaded, tmp_path)._evaluation_environment()
    assert environment.type == "generated_images"
    assert environment.params["prompts"] == "data_collection/prompts/outdoors.jsonl"
    assert environment.params["environment"] == loaded.config.environment.model_dump(mode="json")
    built = build(environments, environment, "environment", {"root": ROOT})
    assert "generated.valid.head" in built.reset(0)
    built.close()
    loaded = load_config(CONFIG, DaggerConfig, ["evaluation.render_mode=simulator"])
    assert DaggerSteps(loaded, tmp_path)._evaluation_environment() is loaded.config.environment


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("generated=null", "render_mode: generated needs a section generated"),
        ("phase1.render_mode=gl", r"phase1\.render_mode: expected 'simulator' or 'generated'"),
        ("generated.baseline_interval=-1", r"generated\.baseline_interval: .*greater than 0"),
    ],
)
def test_wrong_settings_are_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(CONFIG, DaggerConfig, [override])
