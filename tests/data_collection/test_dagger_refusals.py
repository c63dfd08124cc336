"""What a DAgger experiment does not take, and what it says then."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
import yaml

from data_collection import dagger_runner
from data_collection.dagger.schema import DaggerConfig
from data_collection.dagger.steps import DaggerSteps
from tests.support.dagger import CONFIG, PLUGINS, SETTINGS, arguments
from tests.support.full_disk import files_end_at
from trainer import checkpoint, evaluate, guard, loop
from trainer.checkpoint import resolve_checkpoint
from trainer.config import load_config
from trainer.errors import CheckpointError, ConfigError, UserError
from trainer.registry import load_plugins


def test_another_configuration_in_the_same_folder_is_refused(finished):
    with pytest.raises(ConfigError, match=r"phase2\.rollouts: saved 2, now 3"):
        dagger_runner.main(arguments(finished, **{"phase2.rollouts": 3}))


def test_another_task_in_the_same_folder_is_refused(finished):
    message = r'environment\.params\.task: saved "peg-insert-side-v3", now "push-v3"'
    with pytest.raises(ConfigError, match=message):
        dagger_runner.main(arguments(finished, **{"environment.params.task": "push-v3"}))


def test_the_round_of_another_task_in_its_place_is_refused(finished, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(finished, folder)
    config = folder / "data" / "round_001" / "config.yaml"
    values = yaml.safe_load(config.read_text())
    values["environment"]["params"]["task"] = "push-v3"
    config.write_text(yaml.safe_dump(values))
    (folder / "rounds" / "001.json").unlink()
    message = r'round_001/config.yaml: this round has another configuration.*task: saved "push-v3"'
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        dagger_runner.main(arguments(folder))


def test_a_second_runner_in_the_same_folder_is_refused(tmp_path):
    code = "with locked_folder(Path('first'), ''): print('inside', flush=True); input()"
    holder = [sys.executable, "-c", f"from trainer.files import Path, locked_folder\n{code}"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(holder, cwd=tmp_path, **pipes) as first:
        assert first.stdout.readline() == b"inside\n"
        with pytest.raises(ConfigError, match=r"another process runs .*/first; wait"):
            dagger_runner.main(arguments(tmp_path / "first"))
        first.communicate(b"\n")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_the_experiment_goes_on_when_there_is_room(finished, tmp_path):
    folder = tmp_path / "full"
    shutil.copytree(finished, folder)
    report = (folder / "report.html").read_bytes()
    assert len(report) > 40_000
    with files_end_at(40_000), pytest.raises(UserError, match=r"cannot write .*/report\.html"):
        dagger_runner.main(arguments(folder))
    assert (folder / "report.html").read_bytes() == report
    assert dagger_runner.main(arguments(folder)) == 0


def test_a_teacher_that_is_not_good_enough_stops_the_run_until_less_is_asked(tmp_path):
    for asked in (0.9, 0.8):
        with pytest.raises(UserError, match="not good enough"):
            dagger_runner.main(arguments(tmp_path / "poor", min_teacher_success=asked))
    assert not (tmp_path / "poor" / "data").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"phase2.mixing": {"type": "beta_lineer"}}, r"phase2\.mixing\.type: no mixing named"),
        (
            {"phase2.mixing": {"type": "beta_constant", "params": {"betta": 0.5}}},
            r"phase2\.mixing\.params\.betta: unknown parameter of beta_constant",
        ),
        ({"phase2.execute_horizon": 17}, r"phase2: execute_horizon: expected 1 to 16"),
        (
            {"evaluation.temporal_ensembling": 0.1},
            r"evaluation: temporal_ensembling decides at every step",
        ),
        (
            {
                "train.set": SETTINGS["train.set"]
                | {"train.checkpoints.best": {"metric": "evaluation/success_rate"}}
            },
            r"nothing measures 'evaluation/success_rate'",
        ),
        (
            {"train.set.train.stepz": 200},
            r"train\.set: train\.stepz: unknown key .did you mean .steps.",
        ),
        ({"environments_per_worker": 17}, r"17 needs a phase2\.inference_batch of at least"),
        ({"evaluation.prompts": "data_collection/prompts/indoors.jsonl"}, r"no file .*indoors"),
        pytest.param(
            {"phase2.device": "cuda"},
            "torch sees no GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_what_only_a_later_step_uses_is_refused_before_anything_is_done(tmp_path, setting, message):
    with pytest.raises(ConfigError, match=message):
        dagger_runner.main(arguments(tmp_path / "wrong", **setting))
    assert list(tmp_path.iterdir()) == []


def test_one_value_of_what_is_trained_is_set_from_the_command_line(tmp_path):
    settings = ["train.set.train.steps=200", "train.set.data.batch_size=8"]
    loaded = load_config(CONFIG, DaggerConfig, [*settings, f"save_dir={tmp_path}"])
    steps = DaggerSteps(loaded, tmp_path)
    load_plugins(loaded.config.plugins, loaded.root)
    steps.check()
    trained = steps.experiment({}).config
    assert (trained.train.steps, trained.data.batch_size) == (200, 8)


def test_how_much_is_filmed_may_change_and_a_round_goes_on_from_a_training_that_diverged(
    finished, tmp_path, monkeypatch, caplog
):
    folder = tmp_path / "longer"
    shutil.copytree(finished, folder)
    check = guard.GradientGuard.check

    def diverging(self, save_dir, loss_scale):
        if save_dir.name == "round_002":
            raise guard.TrainingDivergedError("training diverged at step 1")
        check(self, save_dir, loss_scale)

    monkeypatch.setattr(guard.GradientGuard, "check", diverging)
    more = {"n_rounds": 2, "evaluation.videos": 2}
    assert dagger_runner.main(arguments(folder, **more)) == 0
    third = json.loads((folder / "rounds" / "002.json").read_text())
    assert len(third["videos"]) == 2
    assert third["checkpoint"] == third["driver"]
    assert third["gradient_steps"] == 0
    assert "diverged at step 1; the newest clean student takes its place" in caplog.text


def test_another_training_yaml_than_the_first_rounds_is_refused(finished, tmp_path):
    folder = tmp_path / "longer"
    shutil.copytree(finished, folder)
    components, first = folder / "configs/components.yaml", folder / "configs/000_train.yaml"
    widths = yaml.safe_load(components.read_text())
    widths["trunk"]["params"]["width"] = 256
    components.write_text(yaml.safe_dump(widths))
    settings = yaml.safe_load(first.read_text())
    settings["train"]["clip_grad_norm"] = 2.0
    del settings["train"]["log_every"]  # as if that were a newer key, with a default
    first.write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigError) as refused:
        dagger_runner.main(arguments(folder, n_rounds=2))
    assert str(refused.value).splitlines()[1:-1] == [
        "  train.clip_grad_norm: saved 2.0, now 1.0",
        "  components.trunk.params.width: saved 256, now 512",
    ]


def test_a_teacher_whose_file_has_changed_since_it_was_looked_at_is_refused(finished, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(finished, folder)
    teacher = json.loads((folder / "teacher.json").read_text())
    assert teacher["checkpoint"] is None  # a program
    (folder / "teacher.json").write_text(json.dumps(teacher | {"checkpoint": "f00d"}))
    (folder / "rounds" / "000.json").unlink()
    with pytest.raises(ConfigError, match=r"round_000 was labelled by another teacher .*\(f00d\)"):
        dagger_runner.main(arguments(folder))


def test_a_teacher_that_remembers_is_refused_before_anything_is_collected(finished, tmp_path):
    student = resolve_checkpoint(finished / "train" / "round_000").folder
    teacher = {"type": "policy_checkpoint", "params": {"path": str(student), "execute_horizon": 2}}
    plugins = [*PLUGINS, "data_collection.teachers.policy_checkpoint"]
    folder = tmp_path / "chunks"
    with pytest.raises(ConfigError, match="remembers earlier steps, so it cannot label what a stu"):
        dagger_runner.main(arguments(folder, teacher=teacher, plugins=plugins))
    assert not (folder / "data").exists()


def test_a_student_that_is_not_finite_is_refused_and_an_earlier_one_goes_on(
    tmp_path, monkeypatch, caplog
):
    newest = checkpoint.save_checkpoint

    def save_broken(save_dir, name, *, components, **rest):
        if (save_dir.name, name) in {("round_001", "epoch_1"), ("round_001", "epoch_2")}:
            for state in components.values():
                for value in state.values():
                    value.fill_(float("nan"))
        return newest(save_dir, name, components=components, **rest)

    monkeypatch.setattr(loop, "save_checkpoint", save_broken)
    assert dagger_runner.main(arguments(tmp_path / "broken")) == 0
    second = json.loads((tmp_path / "broken" / "rounds" / "001.json").read_text())
    assert second["checkpoint"] == "train/round_000/epoch_2"
    assert caplog.text.count("holds NaN or infinite weights: refused") == 2


def test_the_folder_of_an_experiment_is_refused_with_the_round_that_was_best(finished):
    summary = json.loads((finished / "summary.json").read_text())
    best, number = finished / summary["best_checkpoint"], summary["best_round"]
    message = f"of the rounds in it {number} is the best, which trained {best}$"
    with pytest.raises(CheckpointError, match=message):
        evaluate.main(["--checkpoint", str(finished)])
    rounds = [record["evaluation"] for record in summary["rounds"]]
    scores = [(each["success_rate"], each["mean_return"]) for each in rounds]
    assert scores[number] == max(scores)
