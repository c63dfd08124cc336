import json
import os
import re
import resource
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from data_collection.episodes import open_round, verify_round
from data_collection.quota import enough_without_the_rest
from data_collection.schema import CollectConfig
from tests.support.toy_round import collect, command, contents
from trainer.errors import ConfigError, UserError


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(path, *arguments), capture_output=True, text=True, check=False)


def test_the_round_does_not_depend_on_workers_and_environments(project):
    noisy = {"drivers": [{"noise": 0.1}]}
    one = collect(project(save_dir="one", **noisy))
    many = collect(project(save_dir="many", **noisy, workers=2, environments_per_worker=3))
    assert contents(one) == contents(many)
    assert (one / "round.json").read_bytes() == (many / "round.json").read_bytes()
    assert verify_round(many) == []


def test_failures_are_replaced_by_the_next_attempts(project, caplog):
    caplog.set_level("INFO")
    folder = collect(project(episodes=6))
    # Seeds 4 and 8 fail; attempt i has seed 1 + i.
    assert list(contents(folder)) == [f"000_{i:06d}" for i in (0, 1, 2, 4, 5, 6)]
    seeds = [json.loads(x)["seed"] for x in (folder / "manifest.jsonl").read_text().splitlines()]
    assert seeds == [1, 2, 3, 5, 6, 7]
    assert caplog.messages[-1] == (
        "6 episodes of 7 attempts; failures are dropped, keep_failures: true would keep them"
    )


def test_failures_are_kept_when_asked_for(project, caplog):
    caplog.set_level("INFO")
    folder = collect(project(episodes=5, keep_failures=True))
    rows = [json.loads(x) for x in (folder / "manifest.jsonl").read_text().splitlines()]
    assert [row["success"] for row in rows] == [True, True, True, False, True]
    assert rows[3]["length"] == 20
    assert caplog.messages[-1] == "5 episodes of 5 attempts"


def test_a_round_may_be_asked_for_by_its_steps(project):
    options = {"keep_failures": True, "episodes": 50, "min_steps": 60}
    one = collect(project(save_dir="one", **options))
    many = collect(project(save_dir="many", **options, workers=2, environments_per_worker=3))
    assert contents(one) == contents(many)
    lengths = open_round(one).lengths
    assert lengths.sum() >= 60 > lengths[:-1].sum()


@dataclass
class Recorded:
    length: int


@pytest.mark.parametrize(
    ("lengths", "enough"), [([30, 29], False), ([30, 30], True), ([1] * 25, True)]
)
def test_the_rest_may_be_left_out_when_enough_steps_or_episodes_are_there(lengths, enough):
    config = CollectConfig.model_validate(
        {
            **{"plugins": [], "save_dir": "x", "keep_failures": True, "min_completed": 0.5},
            **{"environment": {"type": "any"}, "teacher": {"type": "any"}},
            **{"episodes": 50, "min_steps": 120},
        }
    )
    records = [Recorded(length) for length in lengths]
    assert enough_without_the_rest(config, records) == enough


def test_a_sealed_round_opens_and_says_where_it_came_from(project):
    folder = collect(project(round=2, episodes=2))
    assert folder.name == "round_002"
    config = yaml.safe_load(open_round(folder).config_yaml)
    assert config["environment"] == {"type": "toy", "params": {}}
    assert not {"save_dir", "workers", "environments_per_worker"} & config.keys()


def test_another_attempt_takes_the_place_of_one_that_breaks_down(project):
    folder = collect(project(environment={"type": "toy", "params": {"breaks": 6}}, episodes=6))
    # Seeds 4 and 8 fail, seed 6 breaks down; attempt i has seed 1 + i.
    assert list(contents(folder)) == [f"000_{i:06d}" for i in (0, 1, 2, 4, 6, 8)]


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.6])
def test_a_killed_collection_goes_on_to_the_same_round(project, seconds, tmp_path):
    path = project(environment={"type": "toy", "params": {"pause_s": 0.005}}, workers=2)
    with subprocess.Popen(command(path), stderr=subprocess.DEVNULL) as process:
        episodes = tmp_path / "rounds" / "round_000" / "episodes"
        while not episodes.exists():
            time.sleep(0.01)
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
    folder = collect(path)
    whole = collect(path, "save_dir=whole")
    assert contents(folder) == contents(whole)
    assert (folder / "round.json").read_bytes() == (whole / "round.json").read_bytes()
    assert verify_round(folder) == []
    assert {file.suffix for file in episodes.iterdir()} == {".h5"}


def test_a_finished_round_is_left_alone(project):
    path = project(episodes=2)
    folder = collect(path)
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    again = run(path, "--workers", "2")
    assert again.returncode == 0
    assert "is finished already" in again.stderr
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


def test_a_second_collector_of_the_same_round_is_refused_until_the_first_is_gone(project, tmp_path):
    hit = tmp_path / "hit"  # by a rollout that does not end, in the first collection alone
    path = project(environment={"type": "toy", "params": {"kill": str(hit), "signal_number": 0}})
    folder = tmp_path / "rounds" / "round_000"
    with subprocess.Popen(command(path), stderr=subprocess.PIPE, text=True) as first:
        while not hit.exists():
            time.sleep(0.01)
        second = run(path)
        first.send_signal(signal.SIGINT)
        _, said = first.communicate()
    assert "interrupted; start the same command again to go on" in said
    assert second.returncode == 2
    assert f"another process collects {folder}; wait for it, stop it, or" in second.stderr
    assert run(path).returncode == 0
    assert len((folder / "manifest.jsonl").read_text().splitlines()) == 9
    assert verify_round(folder) == []


def test_a_round_with_another_configuration_is_not_touched(project):
    path = project(episodes=2)
    collect(path)
    with pytest.raises(ConfigError, match=r"seed: saved 1, now 5"):
        collect(path, "seed=5")


def test_a_round_that_was_begun_goes_on_though_its_keys_stand_in_another_order(project):
    path = project(episodes=3)
    folder = collect(path, "environment.params={pause_s: 0.0, kill: null}")
    (folder / "round.json").unlink()
    assert collect(path, "environment.params={kill: null, pause_s: 0.0}") == folder
    assert (folder / "round.json").exists()


@pytest.mark.parametrize("who", ["teacher", "drivers[1]"])
def test_a_round_does_not_go_on_with_another_file_of_whoever_acts(project, tmp_path, who):
    file = tmp_path / "file"
    acting = {"type": "toy_teacher", "params": {"file": str(file)}}
    cast = {"teacher": acting} if who == "teacher" else {"drivers": [{}, {"teacher": acting}]}
    file.write_text("first")
    path = project(**cast, seed=4, episodes=4, max_attempts=4)
    with pytest.raises(UserError, match="only 3 of 4 attempts succeeded"):
        collect(path)
    file.write_text("second")
    with pytest.raises(ConfigError, match=f"checkpoints.{re.escape(who)}: saved .first., now .sec"):
        collect(path)


def test_the_manifest_says_which_file_drove(project, tmp_path):
    file = tmp_path / "file"
    file.write_text("weak")
    weaker = {"teacher": {"type": "toy_teacher", "params": {"file": str(file)}}}
    folder = collect(project(episodes=4, keep_failures=True, drivers=[{}, weaker]))
    episodes = open_round(folder).manifest.values()
    found = sorted((e.actors["other"], e.attributes.driver_checkpoint) for e in episodes)
    assert found == [(0, None)] * 2 + [(1, "weak")] * 2


def test_too_few_successes_are_an_error_and_keep_what_there_is(project):
    path = project(seed=4, episodes=4, max_attempts=4)
    with pytest.raises(UserError, match="only 3 of 4 attempts succeeded, 4 episodes were asked"):
        collect(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 9_999_990}, "seeds from 10000000 on are kept for evaluation"),
        ({"epsodes": 3}, "did you mean 'episodes'"),
        ({"environment": {"type": "tooy"}}, "no environment named 'tooy'"),
        ({"environment": {"type": "toy", "params": {"paus_s": 1}}}, "did you mean 'pause_s'"),
        ({"teacher": {"type": "nobody"}}, "no teacher named 'nobody'"),
        ({"plugins": ["toys.py"]}, "toys.py"),
        ({"episodes": 0}, "episodes"),
    ],
)
def test_a_wrong_configuration_is_refused_before_anything_is_written(
    project, tmp_path, changes, message
):
    path = project(**changes)
    with pytest.raises(ConfigError, match=message) as caught:
        collect(path)
    assert f"{path.name}:" in str(caught.value)
    assert not (tmp_path / "rounds").exists()


def test_the_command_reports_errors_without_a_traceback(project):
    result = run(project(), "--set", "episodes=many")
    assert result.returncode == 2
    assert "episodes" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_disk_that_takes_no_more_is_an_error(project):
    path = project(episodes=1, environment={"type": "toy", "params": {}})
    result = subprocess.run(
        command(path),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert result.returncode == 2
    assert "000_000000.h5" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_episode_that_is_not_a_number_is_given_up_and_the_others_stay(project, caplog):
    toy = {"type": "toy", "params": {"blind": 3}}
    options = {"episodes": 5, "keep_failures": True, "max_retries": 1, "min_completed": 0.5}
    folder = collect(project(environment=toy, **options))
    assert list(contents(folder)) == [f"000_{i:06d}" for i in (0, 1, 3, 4)]
    assert "retry 1 of 1 follows" in caplog.text
    assert "000_000002: observation.state is NaN or infinite at step 0" in caplog.text


def test_a_teacher_with_a_memory_may_label_only_its_own_undisturbed_path(project):
    labels = {"relabel": "rollout", "horizon": 2}
    toy = {"environment": {"type": "restorable_toy"}, "teacher": {"type": "counting"}}
    options = {**toy, "episodes": 1, "keep_failures": True}
    folder = collect(project(**options, save_dir="calm", labels=labels))
    actions = open_round(folder).read_rows("action")[:3, 0]
    assert actions.tolist() == pytest.approx([0.01, 0.02, 0.03])
    with pytest.raises(ConfigError, match="only label its own path, undisturbed"):
        collect(project(**options, labels=labels, drivers=[{"noise": 0.1}]))


def test_only_every_so_many_states_are_labelled_where_others_drive(project):
    labels = {"relabel": "stepwise", "every": 4}
    options = {"episodes": 1, "keep_failures": True, "labels": labels}
    noisy = collect(project(**options, save_dir="noisy", drivers=[{"noise": 0.1}]))
    labelled = open_round(noisy).read_rows("action_valid")
    assert labelled.tolist() == [step % 4 == 0 for step in range(len(labelled))]
    assert open_round(collect(project(**options, save_dir="own"))).read_rows("action_valid").all()
