"""The main job on real input, small: record an expert, train on it, evaluate in the simulator."""

import json
from pathlib import Path

import pytest

from data_collection import collect
from trainer import evaluate, offline_trainer
from trainer.errors import ConfigError, UserError

ROOT = Path(__file__).parents[1]
COLLECT = ROOT / "experiment_training/data_collection/pick_place/exp1/collect.yaml"
EXP3 = (
    ROOT / "experiment_training/imitation_learning/naive_flow_matching_policy/exp3"
    "/naive_flow_matching_policy.yaml"
)


def overrides(**values):
    return [a for key, value in values.items() for a in ("--set", f"{key}={value}")]


@pytest.fixture
def trained(tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    settings = overrides(save_dir=data, episodes=4)
    assert collect.main(["--collect_config", str(COLLECT), "--workers", "1", *settings]) == 0
    settings = overrides(
        **{
            "data.dataset.params.rounds": f"[{data}]",
            "train.save_dir": run,
            "train.steps": 6,
            "train.save_every": 3,
            "evaluation.every": 1,
            "evaluation.episodes": 2,
            "evaluation.max_steps": 20,
            "evaluation.videos": 1,
            "data.batch_size": 8,
            "train.ema_decay": 0.9,
            "train.checkpoints.keep_last": 1,
            "validation": "{fraction: 0.25, every: 1}",
        }
    )
    command = ["--train_config", str(EXP3), *settings]
    assert offline_trainer.main([*command, "--dry_run"]) == 0
    assert offline_trainer.main([*command, "--set", "train.steps=3"]) == 0
    assert offline_trainer.main(command) == 0  # goes on to step 6
    return run


def test_expert_episodes_become_a_trained_and_evaluated_policy(trained, tmp_path):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    evaluations = [line for line in lines if "evaluation/success_rate" in line]
    assert [line["step"] for line in evaluations] == [3, 6]
    assert all(line["validation/action_mae"] > 0 for line in evaluations)
    assert [path.name for path in trained.glob("epoch_*")] == ["epoch_2"]
    assert list((trained / "videos" / "epoch_2").glob("episode_10000000_*.mp4"))
    assert list((trained / "tensorboard").glob("events.*"))

    # Two evaluations of the same weights on the same seeds agree; the second needs no data.
    for path in (tmp_path / "data").rglob("*.h5"):
        path.unlink()
    summary = tmp_path / "summary.json"
    arguments = ["--checkpoint", str(trained), "--episodes", "2", "--output", str(summary)]
    assert evaluate.main([*arguments, "--video", "1"]) == 0
    record = json.loads(summary.read_text())
    recorded = json.loads((trained / "epoch_2" / "metrics.json").read_text())
    for name in ("success_rate", "mean_return", "mean_length"):
        assert record[name] == recorded[f"evaluation/{name}"]
    assert record["checkpoint"] == str(trained / "epoch_2")
    assert set(record) >= {"success_interval", "episodes", "seconds", "weights_sha256"}
    assert list((tmp_path / "videos" / "summary").glob("*.mp4"))

    # Elsewhere: another task, whose state has the same shape.
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text("{type: meta_world, params: {task: push-v3}}")
    there = ["--environment", str(elsewhere)]
    with pytest.raises(UserError, match=r"summary\.json exists, and was made with other settings"):
        evaluate.main([*arguments, *there])
    arguments[-1] = str(tmp_path / "elsewhere.json")
    assert evaluate.main([*arguments, *there]) == 0
    found = json.loads((tmp_path / "elsewhere.json").read_text())
    assert found["environment"]["params"] == {"task": "push-v3"}
    elsewhere.write_text("type: meta_world\nparams: {tusk: push-v3}")
    with pytest.raises(ConfigError, match=r"elsewhere\.yaml:2: params\.tusk: unknown parameter"):
        evaluate.main([*arguments, "--environment", str(elsewhere)])
