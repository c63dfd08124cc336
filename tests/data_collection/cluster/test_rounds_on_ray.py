"""Rounds on a real cluster: two teacher nodes, one trainer node."""

import json
import signal
import threading
import time
from pathlib import Path

import pytest

from data_collection.collect import collect_round
from data_collection.episodes import verify_round
from data_collection.schema import CollectConfig
from tests.support.ray_cluster import COLLECT, needs_ray, wait_until
from tests.support.servers import sftp_server
from tests.support.toy import make_toy
from tests.support.toy_round import contents, write_round
from trainer.checkpoint import newest_checkpoint
from trainer.config import load_config
from trainer.errors import ConfigError, DataError, UserError
from trainer.files import locked_folder

pytestmark = [needs_ray, pytest.mark.xdist_group("ray")]

QUICK = {"heartbeat_s": 0.2, "heartbeat_timeout_s": 3.0}


def collect(path: Path, backend=None, **changes) -> Path:
    overrides = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    return collect_round(load_config(path, CollectConfig, overrides), backend=backend)


def same_bytes(first: Path, second: Path) -> bool:
    return (first / "round.json").read_bytes() == (second / "round.json").read_bytes()


def test_a_round_is_the_same_bytes_as_on_one_machine(backend, tmp_path):
    path = write_round(tmp_path, workers=2, episodes=12, environments_per_worker=2)
    folder = collect(path, backend)
    assert verify_round(folder) == []
    assert same_bytes(folder, collect(path, save_dir="here"))


def test_episodes_may_come_through_an_sftp_server(cluster, backend, tmp_path):
    (tmp_path / "server").mkdir()
    path = write_round(tmp_path, workers=2)
    with sftp_server(tmp_path / "server", cluster.folder) as url:
        folder = collect(path, backend, **{"cluster.storage": url})
    assert len(list((tmp_path / "server" / "rounds").glob("*/episodes/*.h5"))) == 9
    assert verify_round(folder) == []
    assert same_bytes(folder, collect(path, save_dir="here"))


@pytest.mark.parametrize("token", ["0" * 64, pytest.param("", marks=pytest.mark.slow)])
def test_a_runner_without_the_token_is_refused(cluster, tmp_path, token):
    file = tmp_path / "token"
    file.write_text(token)
    patience = "RAY_NUM_REDIS_GET_RETRIES"  # how often Ray asks again, a second each
    other = {"RAY_AUTH_TOKEN_PATH": str(file), patience: "2"}
    command = [*COLLECT, "--collect_config", str(write_round(tmp_path))]
    code, output = cluster.run(*command, environment=other)
    assert code == 2
    assert "Authentication token is missing or incorrect" in output
    assert "error: no Ray cluster at" in output
    assert f"{file} must be the token of its head" in output
    assert not (tmp_path / "rounds").exists()


def test_what_a_user_can_mend_arrives_as_it_was_said(backend, tmp_path):
    path = write_round(tmp_path, environment={"type": "tooy"})
    with pytest.raises(
        ConfigError, match=r"collect\.yaml:\d+: environment\.type: no environment named .tooy."
    ):
        collect(path, backend)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGKILL, "died"),
        (signal.SIGSTOP, "was silent"),
        (0, "took over 4 s (job_timeout_s)"),
    ],
)
def test_a_node_that_dies_or_hangs_is_replaced(backend, tmp_path, caplog, number, reason):
    hit = {"kill": str(tmp_path / "hit"), "signal_number": int(number)}
    toy = {"type": "toy", "params": hit}
    quick = QUICK | {"job_timeout_s": 4.0}
    path = write_round(tmp_path, environment=toy, workers=2, cluster=quick)
    folder = collect(path, backend)
    assert (tmp_path / "hit").exists()
    assert caplog.text.count("is lost, it played 000_00000") == 1
    assert reason in caplog.text
    assert contents(folder) == contents(collect(path, save_dir="here", environment={"type": "toy"}))
    assert not (folder / "quarantine").exists()


def test_a_node_that_does_not_get_ready_is_replaced(backend, tmp_path, caplog):
    stuck = {"type": "toy", "params": {"stuck": str(tmp_path / "stuck")}}
    path = write_round(tmp_path, environment=stuck, cluster={"start_timeout_s": 4.0})
    folder = collect(path, backend)
    assert "teacher_0 is lost, it played nothing: a node was not ready after 4 s" in caplog.text
    assert contents(folder) == contents(collect(path, save_dir="here", environment={"type": "toy"}))


def test_a_second_runner_waits_for_room_and_says_so(backend, tmp_path, caplog):
    caplog.set_level("INFO")
    path = write_round(tmp_path, workers=2)
    cluster = {"teacher_queue_name": "second", "report_every_s": 0.5}
    second = threading.Thread(
        target=collect,
        args=(path, backend),
        kwargs={"save_dir": "second", "cluster": cluster},
        daemon=True,
    )
    with backend.pool(load_config(path, CollectConfig), tmp_path / "first", students=False):
        second.start()
        wait_until(lambda: "waiting for room: 2 of 2 teacher units are in use" in caplog.text, 60)
    second.join()
    assert len(contents(tmp_path / "second" / "round_000")) == 9


def test_no_more_jobs_are_under_way_than_nodes_hold_and_as_many_that_wait(backend, tmp_path):
    """A node holds one that it plays and two that wait."""
    loaded = load_config(write_round(tmp_path, episodes=100), CollectConfig)
    jobs = [loaded.config.job(i) for i in range(100)]
    with backend.pool(loaded, tmp_path / "round", students=False) as pool:
        while pool.has_room and pool.outstanding < len(jobs):
            pool.submit(jobs[pool.outstanding])
        assert pool.outstanding == 2 * 3


def test_a_rollout_that_always_breaks_down_is_quarantined_with_its_log(backend, tmp_path):
    breaking = {"type": "toy", "params": {"breaks": 6}}
    path = write_round(tmp_path, environment=breaking, keep_failures=True, max_retries=1)
    with pytest.raises(UserError, match=r"only 8 of 9 .* broke down 2 times each: 000_000005; "):
        collect(path, backend)
    log = tmp_path / "rounds" / "round_000" / "quarantine" / "000_000005.log"
    assert log.read_text().startswith("seed 6\n")
    assert log.read_text().count("FloatingPointError: the simulation is unstable") == 2
    folder = collect(path, backend, min_completed=0.8)
    assert len(contents(folder)) == 8


def test_a_rollout_that_does_not_end_is_given_up_and_the_round_goes_on(backend, tmp_path):
    hanging = {
        "type": "toy",
        "params": {"kill": str(tmp_path / "hit"), "signal_number": int(signal.SIGSTOP)},
    }
    path = write_round(
        tmp_path,
        environment=hanging,
        keep_failures=True,
        workers=2,
        min_completed=0.6,  # a node holds three jobs: the other one plays six of nine
        stale_timeout_s=2.0,
        cluster={"heartbeat_timeout_s": 300.0},
    )
    folder = collect(path, backend)
    missing = {f"000_{i:06d}" for i in range(9)} - contents(folder).keys()
    assert "000_000005" in missing
    assert len(missing) <= 3


def test_a_full_disk_ends_the_round_which_goes_on_when_there_is_room(backend, tmp_path):
    full = tmp_path / "full"
    full.touch()
    toy = {"type": "toy", "params": {"full": str(full)}}
    path = write_round(tmp_path, environment=toy)
    with pytest.raises(DataError, match=r"could not be written: File too large"):
        collect(path, backend)
    full.unlink()
    folder = collect(path, backend)
    assert contents(folder) == contents(collect(path, save_dir="here", environment={"type": "toy"}))


def collect_while(backend, path: Path, strike) -> Path:
    """Collect a round, and call ``strike`` when it has its first episode."""
    manifest = path.parents[4] / "rounds" / "round_000" / "manifest.jsonl"

    def wait_and_strike() -> None:
        wait_until(lambda: manifest.exists() and manifest.stat().st_size)
        strike()

    striking = threading.Thread(target=wait_and_strike)
    striking.start()
    folder = collect(path, backend)
    striking.join()
    return folder


def write_slow_round(tmp_path: Path, **changes) -> Path:
    toy = {"type": "toy", "params": {"pause_s": 0.05}}
    settings = {"episodes": 20, "keep_failures": True, "workers": 2} | changes
    return write_round(tmp_path, environment=toy, **settings)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_queue_may_die_or_hang(backend, cluster, tmp_path, caplog, monkeypatch, number):
    if number == signal.SIGSTOP:
        monkeypatch.setattr("data_collection.cluster.ray_pool._RESTART_WITHIN_S", 12.0)
    path = write_slow_round(tmp_path, cluster=QUICK)
    queue = "ray::TeacherQueue"
    folder = collect_while(backend, path, lambda: cluster.wait_for(queue).send_signal(number))
    assert "the queue was lost" in caplog.text
    assert ("the queue was silent for 15 s" in caplog.text) == (number == signal.SIGSTOP)
    assert len(contents(folder)) == 20
    assert contents(folder) == contents(collect(path, save_dir="here"))


def test_a_pause_of_the_queue_is_no_nodes_fault(backend, cluster, tmp_path, caplog):
    """Neither are nodes taken for dead, nor jobs for broken, though all were silent for long."""

    def pause() -> None:
        queue = cluster.wait_for("ray::TeacherQueue")
        queue.suspend()
        time.sleep(2 * QUICK["heartbeat_timeout_s"])
        queue.resume()

    path = write_slow_round(tmp_path, cluster=QUICK, max_retries=0)
    folder = collect_while(backend, path, pause)
    assert "was silent" not in caplog.text
    assert len(contents(folder)) == 20


@pytest.mark.slow
def test_a_node_that_stops_before_it_says_a_word_is_replaced(backend, cluster, tmp_path, caplog):
    caplog.set_level("INFO")
    path = write_slow_round(tmp_path, workers=1, cluster=QUICK | {"start_timeout_s": 20.0})
    stopping = threading.Thread(target=lambda: cluster.wait_for("ray::TeacherNode").suspend())
    stopping.start()
    assert len(contents(collect(path, backend))) == 20
    stopping.join()
    assert "teacher_0 was not heard of for 20 s (start_timeout_s)" in caplog.text


def test_training_on_a_trainer_node_that_dies_gives_the_weights_of_training_here(
    backend, cluster, tmp_path, caplog
):
    caplog.set_level("INFO")
    toy = make_toy(tmp_path)
    killer = threading.Thread(target=lambda: cluster.wait_for("TrainerNode.train").kill())
    killer.start()
    backend.train(toy.config_path, 1)
    killer.join()
    assert "the trainer node is lost (attempt 1)" in caplog.text
    there = newest_checkpoint(toy.save_dir)
    assert toy.train("--set", "train.save_dir=here") == 0
    here = newest_checkpoint(tmp_path / "here")
    assert (there.epoch, there.weights_sha256) == (3, here.weights_sha256)
    assert "trainer: step 1, train/loss " in caplog.text


@pytest.mark.slow
def test_training_waits_for_the_trainer_node_and_for_whoever_trains_there(
    backend, tmp_path, caplog, monkeypatch
):
    import ray

    from data_collection.cluster import trainer_node
    from data_collection.cluster.actors import start_node

    def make_way() -> None:
        try:
            wait_until(lambda: said[0] in caplog.text)
            ray.kill(other)
            wait_until(lambda: said[1] in caplog.text)
        finally:  # or training would wait without end
            ray.kill(other)
            over.set()

    def train_there() -> None:
        with locked_folder(toy.save_dir, "unused"):
            locked.set()
            over.wait()

    caplog.set_level("INFO")
    monkeypatch.setattr(trainer_node, "_REPORT_EVERY_S", 1.0)
    toy = make_toy(tmp_path)
    said = [
        "waiting for the trainer node: another runner uses it",
        f"trainer: another process trains in {toy.save_dir}: waiting 300 s at most",
    ]
    locked, over = threading.Event(), threading.Event()
    other = start_node(trainer_node.TrainerNode, trainer_node.TRAINER)
    ray.get(other.__ray_ready__.remote())
    threads = [threading.Thread(target=each) for each in (train_there, make_way)]
    for thread in threads:
        thread.start()
    locked.wait()
    backend.train(toy.config_path, 1)
    for thread in threads:
        thread.join()
    assert all(text in caplog.text for text in said)
    assert newest_checkpoint(toy.save_dir).epoch == 3


@pytest.mark.slow
def test_a_trainer_that_fails_says_so(backend, tmp_path, caplog):
    caplog.set_level("INFO")
    toy = make_toy(tmp_path)
    toy.edit(data__dataset__params={"nan_from": 1})
    with pytest.raises(UserError, match=r"toy\.yaml ended with exit code \d+: see above"):
        backend.train(toy.config_path, 1)
    assert "trainer: error: " in caplog.text
    with pytest.raises(UserError, match=r"none\.yaml: the trainer node does not see this file"):
        backend.train(tmp_path / "none.yaml", 1)
