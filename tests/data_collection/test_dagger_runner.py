"""A whole DAgger experiment, small: killed, started again, and the same in the end."""

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data_collection import dagger_runner
from data_collection.backend import LocalBackend
from data_collection.collect import collect_round
from data_collection.dagger.schema import DaggerConfig
from data_collection.envs.meta_world import MetaWorld
from data_collection.episodes import open_round, read_episode
from data_collection.episodes.schema import EXPERT
from data_collection.label_error import label_errors
from data_collection.replay import replay
from data_collection.schema import CollectConfig
from data_collection.teachers.meta_world_expert import MetaWorldExpert
from tests.support.dagger import PLUGINS, QUICK, ROOT, arguments
from trainer import evaluate
from trainer.acting import load_policy
from trainer.checkpoint import open_checkpoint, resolve_checkpoint
from trainer.cli import run_command
from trainer.config import load_config
from trainer.errors import ConfigError, DataError
from trainer.schema import ExperimentConfig
from trainer.seeding import stream_seed

CPU = torch.device("cpu")
_CHILDREN = multiprocessing.get_context("forkserver")


def _run(folder, log):
    torch.set_num_threads(1)
    os.chdir(ROOT)
    sys.stdout = sys.stderr = Path(log).open("a")  # noqa: SIM115 - open until the process ends
    sys.argv[1:] = arguments(folder)
    run_command(dagger_runner.main)


def fingerprint(folder):
    """Return the hashes of all episodes and final weights, and the rounds' figures."""
    rounds = sorted((folder / "data").iterdir())
    episodes = {
        record.id: record.content_sha256
        for path in rounds
        for record in open_round(path).manifest.values()
    }
    weights = {
        path.parent.parent.name: json.loads(path.read_text())["weights_sha256"]
        for path in (folder / "train").glob("*/epoch_2/manifest.json")
    }
    figures = [
        json.loads(path.read_text()) for path in sorted((folder / "rounds").glob("[0-9]*.json"))
    ]
    for figure in figures:
        del figure["seconds"], figure["labelling_seconds"]
        del figure["evaluation"]["seconds"], figure["evaluation"]["seconds_per_decision"]
    return episodes, weights, figures


def test_rounds_are_collected_trained_evaluated_and_reported(finished):
    episodes, weights, figures = fingerprint(finished)
    assert len(episodes) == 5
    assert set(weights) == {"round_000", "round_001"}
    assert [f["driver"] for f in figures] == [None, "train/round_000/epoch_2"]
    assert figures[1]["actors"]["student"] == 1.0
    second = open_round(finished / "data" / "round_001")
    assert provenance(finished / "data" / "round_000") == {("teacher", 0, None)}
    assert provenance(second.folder) == {("on_policy", 1, weights["round_000"])}
    recorded = yaml.safe_load(second.config_yaml)["recorded"]
    assert recorded["checkpoints"] == {"student": weights["round_000"]}
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["final_success_rate"] == figures[1]["evaluation"]["success_rate"]
    assert set(summary) >= {"final_return", "teacher_return", "teacher_success_rate", "rounds"}
    report = (finished / "report.html").read_text()
    assert report.count("data:image/svg+xml;base64") == 7
    assert report.count("data:video/mp4;base64") == 2
    assert "http" not in report


def provenance(folder):
    """Return phase, round and student of a round's episodes."""
    found = [record.attributes for record in open_round(folder).manifest.values()]
    return {(each.phase, each.round, each.student_checkpoint) for each in found}


def test_starting_a_finished_experiment_again_repeats_nothing(finished):
    before = {p: p.stat().st_mtime_ns for p in (finished / "train").rglob("*.pt")}
    assert dagger_runner.main(arguments(finished)) == 0
    assert {p: p.stat().st_mtime_ns for p in (finished / "train").rglob("*.pt")} == before


def test_the_report_never_tells_of_fewer_rounds_than_before(finished, tmp_path, monkeypatch):
    folder = tmp_path / "again"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "videos")  # somebody made room
    told, write = [], dagger_runner.write_report
    monkeypatch.setattr(
        dagger_runner, "write_report", lambda *a: (told.append(len(a[-1])), write(*a))
    )
    assert dagger_runner.main(arguments(folder)) == 0
    assert told == [2]
    assert "data:video" not in (folder / "report.html").read_text()


def test_a_round_too_short_for_the_students_chunk_has_no_label_error(finished, monkeypatch, caplog):
    def too_short(saved, round_folder):
        raise DataError("interface.chunk is 16, but the longest episode has 9 steps")

    monkeypatch.setattr(dagger_runner, "label_errors", too_short)
    loaded = load_config(finished / "config.yaml", DaggerConfig)
    runner = dagger_runner.DaggerRunner(loaded, LocalBackend())
    driver = open_checkpoint(finished / "train" / "round_000" / "epoch_2")
    assert runner._label_error(1, driver) is None
    assert "round 1: the label error is left out: interface.chunk is 16" in caplog.text


def test_tensorboard_has_the_courses_names_and_the_videos(finished):
    events = EventAccumulator(str(finished / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    figures = fingerprint(finished)[2]

    def scalar(name):
        return {e.step: e.value for e in events.Scalars(name)}

    returns = [[r["return"] for r in f["evaluation"]["results"]] for f in figures]
    for name, values in (
        ("Eval_AverageReturn", [np.mean(r) for r in returns]),
        ("Eval_StdReturn", [np.std(r) for r in returns]),
        ("Eval_MaxReturn", [np.max(r) for r in returns]),
        ("Train_AverageReturn", [np.mean(f["collected_returns"]) for f in figures]),
        ("Initial_DataCollection_AverageReturn", [np.mean(figures[0]["collected_returns"])] * 2),
        ("Train_EnvstepsSoFar", np.cumsum([sum(f["lengths"]) for f in figures])),
    ):
        assert scalar(name) == {i: pytest.approx(v, rel=1e-6) for i, v in enumerate(values)}
    videos = [tag for tag in events.Tags()["images"] if tag.startswith("eval_rollouts/")]
    assert len(videos) == 1


def test_labels_are_counted_and_the_drivers_error_is_measured(finished):
    first, second = (
        json.loads((finished / "rounds" / f"{i:03d}.json").read_text()) for i in range(2)
    )
    # Every eighth state of two episodes of 24 steps has a chunk of 16 actions.
    assert second["lengths"] == [24, 24]
    assert second["labels"] == 2 * 3
    assert second["expert_queries"] == 2 * 3 * 16
    assert first["label_error"] is None
    rounds = [open_round(finished / "data" / f"round_{i:03d}") for i in range(2)]
    assert second["label_error"]["student"] == pytest.approx(
        np.sqrt(np.mean((next_actions(finished, rounds[1]) - labels(rounds[1])) ** 2)), rel=1e-5
    )
    assert second["label_error"]["teacher"] > 0


def labels(sealed):
    return sealed.read_rows("action")[sealed.read_rows("action_valid")]


def next_actions(folder, sealed):
    """Return the first action of each labelled frame's chunk, as round 0's student samples it."""
    saved = load_policy(open_checkpoint(folder / "train" / "round_000" / "epoch_2"), CPU)
    actions = []
    states = sealed.read_rows("observation.state")[sealed.read_rows("action_valid")]
    for row, state in enumerate(torch.from_numpy(states)):
        noise = torch.Generator().manual_seed(stream_seed(0, "label_error", row))
        observation = {"observation.state": state[None, None]}
        chunk, _ = saved.policy.predict_action(observation, saved.policy.initial_state(1), [noise])
        actions.append(chunk[0, 0].numpy())
    return np.stack(actions)


def student_round(finished, *overrides):
    return load_config(finished / "configs" / "001_collect.yaml", CollectConfig, overrides)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here a student may drive on the GPU")
def test_a_student_drives_where_the_yaml_says(finished, tmp_path):
    loaded = student_round(finished, f"save_dir={tmp_path}", "student.device=cuda")
    with pytest.raises(ConfigError, match="cuda was asked for, but torch sees no GPU"):
        collect_round(loaded)


def test_a_round_from_before_a_key_existed_is_found_finished(finished, tmp_path):
    shutil.copytree(finished / "data", tmp_path / "data")
    config = tmp_path / "data" / "round_001" / "config.yaml"
    values = yaml.safe_load(config.read_text())
    assert values["student"].pop("device") == "cpu"
    del values["recorded"]["checkpoints"]
    config.write_text(yaml.safe_dump(values))
    here = f"save_dir={tmp_path / 'data'}"
    assert collect_round(student_round(finished, here)) == config.parent
    with pytest.raises(ConfigError, match=r"student\.device: saved .cpu., now .auto."):
        collect_round(student_round(finished, here, "student.device=auto"))


def test_weaker_teachers_drive_and_the_expert_labels(finished, tmp_path):
    epochs = [str(finished / "train" / "round_000" / f"epoch_{k}") for k in (1, 2)]
    weaker = [{"teacher": {"type": "policy_checkpoint", "params": {"path": e}}} for e in epochs]
    options = {
        "phase1.sources": [{}, *weaker],
        "n_rounds": 0,
        "plugins": [*PLUGINS, "data_collection.teachers.policy_checkpoint"],
    }
    assert dagger_runner.main(arguments(tmp_path / "weaker", **options)) == 0
    sealed = open_round(tmp_path / "weaker" / "data" / "round_000")
    drivers = [sealed.manifest[name].actors for name in sealed.ids]
    assert sorted(d["expert"] for d in drivers) == [0, 0, 1]
    assert sorted(d["other"] for d in drivers) == [0, 1, 1]
    environment = MetaWorld(task="peg-insert-side-v3")
    for name in sealed.ids:
        arrays = read_episode(sealed.folder / "episodes" / f"{name}.h5")
        observation = environment.reset(sealed.manifest[name].attributes.seed)
        for t, executed in enumerate(arrays["executed_action"]):
            if arrays["action_valid"][t]:
                label = MetaWorldExpert().act(environment, observation, np.random.default_rng(0))
                np.testing.assert_array_equal(arrays["action"][t], label)
            observation = environment.step(executed).observation


def test_the_teacher_drives_under_the_noise_of_a_student(finished, tmp_path):
    student, data = finished / "train" / "round_000", finished / "data" / "round_001"
    dart = {"student": str(student), "data": str(data), "scale": 2.0}
    options = {"phase1.sources": [{"dart": dart}], "phase2.dart_scale": 0.5}
    options |= {"evaluation.video_every": 2}
    first_student = tmp_path / "dart" / "train" / "round_000"
    assert dagger_runner.main(arguments(tmp_path / "dart", **options)) == 0
    errors = label_errors(load_policy(open_checkpoint(student / "epoch_2"), CPU), data)
    expected = 2.0 * errors.T @ errors / len(errors)
    for index in range(2):
        config = yaml.safe_load((tmp_path / f"dart/configs/{index:03d}_collect.yaml").read_text())
        covariance = np.array(config["drivers"][0]["noise_covariance"])
        if index == 0:
            np.testing.assert_allclose(covariance, expected, rtol=1e-6)
        assert np.linalg.eigvalsh(covariance).min() > 0
        sealed = open_round(tmp_path / f"dart/data/round_{index:03d}")
        disturber = resolve_checkpoint(first_student if index else student).weights_sha256
        assert provenance(sealed.folder) == {("dart", index, disturber)}
        assert set(sealed.read_rows("actor")) == {EXPERT}
        labelled = sealed.read_rows("action_valid")
        noise = sealed.read_rows("executed_action")[labelled] - labels(sealed)
        # Whitened by its covariance the noise is standard normal, 4 numbers a step.
        squares = np.einsum("na,ab,nb->n", noise, np.linalg.inv(covariance), noise)
        assert squares.mean() == pytest.approx(4, abs=4 * np.sqrt(8 / len(noise)))
    first, second = (
        json.loads((tmp_path / f"dart/rounds/{index:03d}.json").read_text()) for index in range(2)
    )
    assert (len(first["videos"]), second["videos"]) == (1, [])  # every other round is filmed
    # The expert acts in all steps of two episodes of 24; six states have a chunk of 16 besides.
    assert (second["labels"], second["expert_queries"]) == (6, 48 + 6 * 15)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_twenty_random_moments_everything_ends_with_the_same_hashes(finished, tmp_path):
    folder, log = tmp_path / "killed", tmp_path / "log.txt"
    rng = random.Random(0)
    kills = {"runner": 0, "worker": 0, "trainer": 0}
    child = start(folder, log)
    while sum(kills.values()) < 20:
        if child.exitcode is not None:
            if child.exitcode == 0:  # finished under fire: check it, and begin another one
                assert fingerprint(folder) == fingerprint(finished)
                shutil.rmtree(folder)
            child = start(folder, log)
        victim = rng.choice(sorted(kills))
        if victim != "worker":  # the trainer runs in the runner's process
            delay = rng.uniform(1.0, 9.0)
            if victim == "trainer":
                while child.exitcode is None and not is_training(folder):
                    time.sleep(0.01)
                delay = rng.uniform(0.0, 0.5)
            child.join(delay)
            if child.exitcode is None:
                child.kill()
                child.join()
                kills["trainer" if is_training(folder) else "runner"] += 1
        else:
            while child.exitcode is None and not grandchildren(child.pid):
                time.sleep(0.01)
            child.join(rng.uniform(0.0, 0.1))
            for worker in grandchildren(child.pid):
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.kill(worker, signal.SIGKILL)
                    kills["worker"] += 1
    child.join(200)
    if child.exitcode != 0:
        child = start(folder, log)
        child.join(200)
    assert child.exitcode == 0, log.read_text()
    assert fingerprint(folder) == fingerprint(finished)
    assert min(kills.values()) >= 3, kills


def start(folder, log):
    child = _CHILDREN.Process(target=_run, args=(str(folder), str(log)))
    child.start()
    return child


def is_training(folder):
    """Return whether the training of a round has begun and not saved its last epoch."""
    return any(not (run / "epoch_2").exists() for run in (folder / "train").glob("round_*"))


def grandchildren(pid):
    """Return the processes two levels below: workers, which the fork server starts."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
    return [p for p, parent in parents.items() if parents.get(parent) == pid]


def test_an_experiment_may_be_started_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "elsewhere"
    assert dagger_runner.main(arguments(folder, **QUICK)) == 0
    for name, schema in (("collect", CollectConfig), ("train", ExperimentConfig)):
        assert load_config(folder / f"configs/000_{name}.yaml", schema).root == ROOT
    assert "root" not in yaml.safe_load((folder / "data/round_000/config.yaml").read_text())
    # video_every: -1 films nothing.
    assert not (folder / "videos").exists()
    assert "None were made" in (folder / "report.html").read_text()


@pytest.mark.parametrize("number", [0, 1])
def test_an_episode_that_a_student_drove_comes_out_bit_identical_again(finished, number):
    sealed = open_round(finished / "data" / "round_001")
    result = replay(sealed.folder / "episodes" / f"{sealed.ids[number]}.h5")
    assert (result.record.actors["student"], result.difference) == (1.0, None)
    assert result.is_identical


def test_a_student_is_evaluated_by_command_as_in_its_round(finished, tmp_path):
    output = tmp_path / "figures.json"
    run = finished / "train" / "round_001"
    options = ["--episodes", "2", "--device", "cpu", "--output", str(output)]
    assert evaluate.main(["--checkpoint", str(run), *options]) == 0
    found = json.loads(output.read_text())
    recorded = json.loads((finished / "rounds" / "001.json").read_text())["evaluation"]
    assert found["results"] == recorded["results"]
