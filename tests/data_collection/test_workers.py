"""Workers that are killed, hang, or differ from each other."""

import subprocess
import sys
import time

import psutil
import pytest
import yaml

from data_collection.episodes import open_round, verify_round
from data_collection.schema import CollectConfig
from data_collection.workers import WorkerPool
from tests.support.toy_round import collect, command, contents
from trainer.config import load_config
from trainer.errors import UserError


def test_a_killed_worker_is_replaced_and_nothing_is_lost(project, tmp_path):
    killing = {"type": "toy", "params": {"kill": str(tmp_path / "killed")}}
    folder = collect(project(save_dir="killed_once", environment=killing, workers=2))
    assert (tmp_path / "killed").exists()
    assert contents(folder) == contents(collect(project(save_dir="whole")))


def test_workers_that_all_die_end_the_collection(project):
    path = project(teacher={"type": "toy_teacher", "params": {"dies": True}}, max_attempts=9)
    with pytest.raises(UserError, match=r"only 0 of 9 attempts .* broke down 3 times each: 000_0"):
        collect(path)


def test_a_rollout_that_breaks_down_is_retried_and_stops_the_round(project, caplog):
    breaking = {"type": "toy", "params": {"breaks": 6}}
    path = project(environment=breaking, keep_failures=True, environments_per_worker=2)
    with pytest.raises(UserError, match=r"only 8 of 9 .* broke down 3 times each: 000_000005; "):
        collect(path)
    assert caplog.text.count("rollout 000_000005 (seed 6) broke down") == 3
    assert "FloatingPointError: the simulation is unstable" in caplog.text


def test_a_round_goes_on_without_what_breaks_down_where_it_may(project):
    breaking = {"type": "toy", "params": {"breaks": 6}}
    options = {"keep_failures": True, "environments_per_worker": 2}
    folder = collect(project(environment=breaking, min_completed=0.8, **options))
    whole = contents(collect(project(save_dir="whole", **options)))
    assert contents(folder) == {name: sha for name, sha in whole.items() if name != "000_000005"}
    assert verify_round(folder) == []


@pytest.mark.parametrize("environments", [1, 4])
def test_only_the_rollout_that_kills_its_worker_is_given_up(project, environments, caplog):
    options = {"episodes": 12, "keep_failures": True, "min_completed": 0.5}
    options["environments_per_worker"] = environments
    folder = collect(project(environment={"type": "toy", "params": {"deadly": 6}}, **options))
    whole = contents(collect(project(save_dir="whole", **options)))
    assert contents(folder) == {name: sha for name, sha in whole.items() if name != "000_000005"}
    assert [log.stem for log in (folder / "quarantine").iterdir()] == ["000_000005"]
    assert caplog.text.count("rollout 000_000005 (seed 6) broke down") == 3
    assert caplog.text.count("broke down,") == 3


@pytest.mark.parametrize("environments", [1, 4])
def test_an_episode_that_kills_its_worker_when_it_is_written_is_given_up_alone(
    project, environments
):
    options = {"episodes": 12, "keep_failures": True, "min_completed": 0.5}
    options["environments_per_worker"] = environments
    heavy = {"type": "toy", "params": {"heavy": 6, "pause_s": 0.01}}
    folder = collect(project(environment=heavy, **options))
    assert contents(folder).keys() == {f"000_{i:06d}" for i in range(12)} - {"000_000005"}
    assert [log.stem for log in (folder / "quarantine").iterdir()] == ["000_000005"]


@pytest.mark.parametrize("environments", [1, 4])
def test_a_teacher_that_breaks_down_is_blamed_on_its_own_rollout(project, environments):
    teacher = {"type": "toy_teacher", "params": {"refuses": 6}}
    options = {"keep_failures": True, "min_completed": 0.5, "max_retries": 0}
    path = project(teacher=teacher, environments_per_worker=environments, **options)
    (log,) = (collect(path) / "quarantine").iterdir()
    assert log.stem == "000_000005"
    assert "no path to the goal" in log.read_text()


def test_a_worker_that_hangs_is_replaced_and_the_others_get_its_jobs(project, tmp_path, caplog):
    stuck = {"type": "toy", "params": {"stuck": str(tmp_path / "stuck")}}
    cluster = {"start_timeout_s": 3.0}
    folder = collect(project(environment=stuck, workers=2, cluster=cluster))
    assert contents(folder) == contents(collect(project(save_dir="whole")))
    assert "a worker was not ready after 3 s (cluster.start_timeout_s)" in caplog.text


def test_a_rollout_that_hangs_is_played_again(project, tmp_path, caplog):
    hanging = {"type": "toy", "params": {"kill": str(tmp_path / "hit"), "signal_number": 0}}
    cluster = {"job_timeout_s": 2.0}
    folder = collect(project(environment=hanging, cluster=cluster))
    assert contents(folder) == contents(collect(project(save_dir="whole")))
    assert "a rollout took over 2 s (cluster.job_timeout_s)" in caplog.text
    assert "rollout 000_000005 (seed 6) broke down, retry 1" in caplog.text


def test_workers_that_hang_end_with_the_command(project, tmp_path):
    hit = tmp_path / "hit"
    path = project(environment={"type": "toy", "params": {"kill": str(hit), "signal_number": 0}})
    with subprocess.Popen(command(path), stderr=subprocess.DEVNULL) as process:
        while not hit.exists():
            time.sleep(0.01)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2  # the fork server and the worker
        process.kill()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


def test_a_file_that_changes_under_a_running_round_ends_it(project, tmp_path):
    file, hit = tmp_path / "file", tmp_path / "hit"
    file.write_text("first")
    path = project(
        teacher={"type": "toy_teacher", "params": {"file": str(file)}},
        environment={"type": "toy", "params": {"kill": str(hit), "signal_number": 0}},
    )
    with subprocess.Popen(command(path), stderr=subprocess.PIPE, text=True) as process:
        while not hit.exists():
            time.sleep(0.01)
        file.write_text("second")
        workers = [p for p in psutil.Process(process.pid).children(recursive=True) if p.children()]
        for worker in [leaf for each in workers for leaf in each.children()]:
            worker.kill()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert 'checkpoints.teacher: saved "first", now "second"' in said
    file.write_text("first")
    folder = collect(path)
    config = yaml.safe_load(open_round(folder).config_yaml)
    assert config["recorded"]["checkpoints"] == {"teacher": "first"}


def test_workers_start_without_torch():
    modules = "data_collection.player, data_collection.collect, data_collection.envs.meta_world"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_more_jobs_are_given_out_than_workers_hold(project, tmp_path):
    """One that is played and two that wait, in each: the others stay with the runner."""
    loaded = load_config(project(episodes=100), CollectConfig)
    jobs = [loaded.config.job(i) for i in range(100)]
    with WorkerPool(loaded, tmp_path / "round", 2, students=False) as pool:
        while pool.has_room and pool.outstanding < len(jobs):
            pool.submit(jobs[pool.outstanding])
        assert pool.outstanding == 2 * 3
