import json
import re

import pytest
import torch
import yaml
from torch import nn

from tests.support.toy import make_toy
from trainer import evaluate
from trainer.acting import load_policy
from trainer.checkpoint import newest_checkpoint
from trainer.errors import ConfigError, UserError
from trainer.registry import policies

SEED = 10_000_007
STANDING = """
import numpy as np
from trainer.environment import STATE, Environment, StepResult
from trainer.registry import environments


@environments.register("standing")
class Standing(Environment):
    control_hz, max_steps, action_dim = 20.0, 3, 3
    observation_shapes = {STATE: (5,)}

    def __init__(self, *, at: float = 0.0) -> None:
        self.at = at

    def reset(self, seed):
        return {STATE: np.full(5, self.at, np.float32)}

    def step(self, action):
        return StepResult(self.reset(0), self.at, False, False, False)

    def render(self):
        return np.zeros((16, 16, 3), np.uint8)
"""
SEES_VIDEOS = """

@loggers.register("videos")
class Videos(Logger):
    def log_scalars(self, step, values):
        return

    def log_video(self, step, name, path):
        print("video", step, name)
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A trained toy, in whose folder of videos one lay that the training did not film."""
    toy = make_toy(tmp_path_factory.mktemp("toy"))
    (toy.root / "standing.py").write_text(STANDING)
    plugin = toy.root / "fake.py"
    plugin.write_text(plugin.read_text() + SEES_VIDEOS)
    evaluation = {
        "plugins": ["standing.py"],
        "environment": {"type": "standing"},
        "every": 3,
        "episodes": 3,
        "seed": SEED,
        "videos": 1,
    }
    toy.edit(evaluation=evaluation, logging=[{"type": "videos"}])
    videos = toy.save_dir / "videos" / "epoch_3"
    videos.mkdir(parents=True)
    (videos / "episode_1_failure.mp4").write_text("of another evaluation")
    assert toy.train() == 0, toy.log.read_text()
    return toy


def test_training_logs_the_videos_that_it_has_just_written(toy):
    logged = re.findall(r"video \d+ \S+", toy.log.read_text())
    assert logged == [f"video 24 evaluation/episode_{SEED}_failure"]


def test_the_experiment_says_how_many_episodes_and_from_which_seed(toy):
    run = ["--checkpoint", str(toy.save_dir), "--device", "cpu"]
    assert evaluate.main(run) == 0
    record = json.loads((toy.save_dir / "evaluation_epoch_3.json").read_text())
    assert (record["episodes"], record["seed"]) == (3, SEED)
    output = ["--output", str(toy.root / "elsewhere.json")]
    assert evaluate.main([*run, "--episodes", "2", "--seed", "5", *output]) == 0
    record = json.loads((toy.root / "elsewhere.json").read_text())
    assert (record["episodes"], record["seed"]) == (2, 5)
    assert [r["seed"] for r in record["results"]] == [5, 6]


def test_a_record_says_how_it_was_measured_and_other_settings_do_not_overwrite_it(toy, capsys):
    run = ["--checkpoint", str(toy.save_dir), "--device", "cpu", "--seed", str(SEED + 90)]
    first = toy.save_dir / "evaluation_epoch_3.json"
    first.unlink(missing_ok=True)
    assert evaluate.main(run) == 0
    record = json.loads(first.read_text())
    settings = {
        "episodes": 3,
        "seed": SEED + 90,
        "execute_horizon": None,
        "temporal_ensembling": None,
        "max_steps": None,
        "stop_on_success": True,
        "inference_batch": 16,
        "environment": {"type": "standing", "params": {}},
        "policy": {"type": "naive_flow_matching_policy", "params": {}},
        "device": "cpu",
    }
    assert {key: record[key] for key in settings} == settings
    manifest = json.loads((toy.save_dir / "epoch_3" / "manifest.json").read_text())
    assert record["weights_sha256"] == manifest["weights_sha256"]
    before = first.read_bytes()

    for _ in range(2):  # the second time its own record is replaced
        assert evaluate.main([*run, "--execute_horizon", "2", "--video", "1"]) == 0
        assert "execute_horizon: saved null, now 2" in capsys.readouterr().out
    assert first.read_bytes() == before
    second = toy.save_dir / "evaluation_epoch_3_2.json"
    assert json.loads(second.read_text())["execute_horizon"] == 2
    assert not (toy.save_dir / "evaluation_epoch_3_3.json").exists()
    videos = toy.save_dir / "videos" / "evaluation_epoch_3_2"
    assert [path.name for path in videos.iterdir()] == [f"episode_{SEED + 90}_failure.mp4"]
    assert evaluate.main(run) == 0
    assert "measured otherwise" not in capsys.readouterr().out
    second.unlink()
    first.unlink()


def test_a_file_that_was_named_is_not_overwritten_with_other_settings(toy):
    output = toy.root / "figures.json"
    run = ["--checkpoint", str(toy.save_dir), "--device", "cpu", "--output", str(output)]
    assert evaluate.main(run) == 0
    assert evaluate.main(run) == 0
    before = output.read_bytes()
    with pytest.raises(UserError, match="episodes: saved 3, now 1"):
        evaluate.main([*run, "--episodes", "1"])
    assert output.read_bytes() == before


def test_an_environment_of_a_plugin_that_is_not_loaded_says_how_to_load_it(toy, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("type: meta_world_elsewhere\n")
    run = ["--checkpoint", str(toy.save_dir), "--environment", str(other)]
    with pytest.raises(ConfigError, match="to this command plugins are named with --plugin"):
        evaluate.main(run)


def test_a_negative_number_of_videos_is_refused(toy, capsys):
    with pytest.raises(SystemExit):
        evaluate.main(["--checkpoint", str(toy.save_dir), "--video", "-1"])
    assert "expected 0 or more, got -1" in capsys.readouterr().err


def test_another_environment_leaves_what_was_found_in_the_first_alone(toy):
    run = ["--checkpoint", str(toy.save_dir), "--device", "cpu"]
    assert evaluate.main(run) == 0
    first = (toy.save_dir / "evaluation_epoch_3.json").read_text()
    videos = sorted((toy.save_dir / "videos" / "epoch_3").iterdir())
    other = toy.root / "elsewhere.yaml"
    other.write_text("{type: standing, params: {at: 2.0}}")
    assert evaluate.main([*run, "--environment", str(other), "--seed", "6"]) == 0
    assert (toy.save_dir / "evaluation_epoch_3.json").read_text() == first
    assert sorted((toy.save_dir / "videos" / "epoch_3").iterdir()) == videos
    record = json.loads((toy.save_dir / "evaluation_epoch_3_elsewhere.json").read_text())
    assert [r["return"] for r in record["results"]] == [6.0, 6.0, 6.0]
    folder = toy.save_dir / "videos" / "evaluation_epoch_3_elsewhere"
    assert [path.name for path in folder.iterdir()] == ["episode_6_failure.mp4"]


def test_a_changed_experiment_leaves_what_was_found_alone(toy):
    run = ["--checkpoint", str(toy.save_dir), "--device", "cpu"]
    (toy.save_dir / "evaluation_epoch_3_2.json").unlink(missing_ok=True)
    assert evaluate.main(run) == 0
    first = (toy.save_dir / "evaluation_epoch_3.json").read_text()
    change = "policy.params.flow.num_steps=1"
    assert evaluate.main([*run, "--set", change]) == 0
    assert (toy.save_dir / "evaluation_epoch_3.json").read_text() == first
    record = json.loads((toy.save_dir / "evaluation_epoch_3_2.json").read_text())
    assert record["policy"]["params"] == {"flow": {"num_steps": 1}}
    with pytest.raises(ConfigError, match="did you mean 'num_steps'"):
        evaluate.main([*run, "--set", "policy.params.flow.num_step=1"])


def test_how_a_policy_acts_is_varied_without_training(toy, tmp_path):
    run = ["--checkpoint", str(toy.save_dir), "--device", "cpu"]
    output = tmp_path / "varied.json"
    varied = [
        "policy.params.flow={solver: midpoint, num_steps: 2}",
        "evaluation.max_steps=2",
        "evaluation.environment=from_data",
        "evaluation.environment.params.at=1.5",
    ]
    settings = [word for each in varied for word in ("--set", each)]
    assert evaluate.main([*run, *settings, "--output", str(output)]) == 0
    record = json.loads(output.read_text())
    assert record["policy"]["params"]["flow"]["num_steps"] == 2
    assert record["max_steps"] == 2
    assert [r["return"] for r in record["results"]] == [3.0, 3.0, 3.0]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.ema_decay=0.5", "--set train.ema_decay: of a trained policy only"),
        ("interface.chunk=8", "only evaluation.… and policy.params.… can be set"),
        ("policy.type=act", "--set policy.type: of a trained policy only"),
        ("policy.params.flow.num_stepz=2", "did you mean 'num_steps'"),
        ("evaluation.episode=2", "did you mean 'episodes'"),
        ("evaluation.environment.params.att=2", "did you mean 'at'"),
        ("evaluation={environment: {type: toy}}", "--set evaluation: set its keys one by one"),
    ],
)
def test_a_setting_that_is_wrong_or_was_trained_is_named(toy, setting, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        evaluate.main(["--checkpoint", str(toy.save_dir), "--set", setting])


def test_a_setting_whose_weights_the_checkpoint_does_not_have_is_refused(toy, monkeypatch):
    def wider(self, components, interface, loss, *, width: int = 3):
        original(self, components, interface, loss)
        components["head"] = nn.Linear(width, 1)

    policy = policies.get("naive_flow_matching_policy")
    original = policy.__init__
    monkeypatch.setattr(policy, "__init__", wider)
    message = r"--set policy.params.width=4: the weights of .*epoch_3 do not fit .*head"
    with pytest.raises(ConfigError, match=message):
        evaluate.main(["--checkpoint", str(toy.save_dir), "--set", "policy.params.width=4"])


def test_an_experiment_that_is_never_evaluated_takes_settings_all_the_same(toy):
    checkpoint = newest_checkpoint(toy.save_dir)
    config = checkpoint.folder / "config.yaml"
    before = config.read_text()
    try:
        config.write_text(yaml.safe_dump(yaml.safe_load(before) | {"evaluation": None}))
        saved = load_policy(checkpoint, torch.device("cpu"), ["evaluation.episodes=7"])
    finally:
        config.write_text(before)
    assert saved.config.evaluation.episodes == 7
    assert saved.config.evaluation.every is None


@pytest.mark.parametrize(
    ("output", "message"), [("none/a.json", "there is no folder"), (".", "is a folder")]
)
def test_a_file_that_cannot_be_written_is_refused_before_playing(toy, capsys, output, message):
    with pytest.raises(SystemExit):
        evaluate.main(["--checkpoint", str(toy.save_dir), "--output", str(toy.root / output)])
    assert message in capsys.readouterr().err
