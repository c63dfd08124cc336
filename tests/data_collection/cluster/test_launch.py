"""What launch starts, refuses, and leaves behind."""

import os
import re
import stat
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest
import yaml

from data_collection.cluster.launch import Launch, LaunchConfig, node_environment
from data_collection.cluster.ray_environment import (
    create_token,
    has_token,
    is_loopback,
    prepare,
    token_file,
)
from tests.support.ray_cluster import ROOT, RayCluster, needs_ray
from trainer.config import load_config
from trainer.errors import ConfigError

TEMPLATES = ROOT / "data_collection" / "cluster" / "templates"


def launch(join: str | None = None, **changes) -> Launch:
    return Launch(LaunchConfig(**changes), join)


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (launch(host="10.0.0.5", auth="none"), "auth: none lets everybody run code"),
        (
            launch(auth="none", dashboard=True, dashboard_host="0.0.0.0"),
            "dashboard_host: .* auth: none",
        ),
        (launch(join="10.0.0.5:6379"), "give this machine's own address"),
        (launch(host="10.0.0.6", join="10.0.0.5:6379"), "no token to join 10.0.0.5:6379 with"),
    ],
)
def test_nobody_comes_in_without_a_token(refused, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        refused.check({"HOME": str(tmp_path), "RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")})


def test_the_dashboard_is_off_and_stays_on_loopback_unless_it_is_told_where_to_be():
    assert "--include-dashboard=false" in launch(host="10.0.0.5").command()
    shown = launch(host="10.0.0.5", dashboard=True).command()
    assert {"--include-dashboard=true", "--dashboard-host=127.0.0.1"} <= set(shown)
    open_to_others = launch(host="10.0.0.5", dashboard=True, dashboard_host="10.0.0.5")
    assert "--dashboard-host=10.0.0.5" in open_to_others.command()


def test_loopback_may_do_without_and_others_with_a_token(tmp_path):
    launch(auth="none").check({})
    launch(host="10.0.0.5").check({})
    launch(host="10.0.0.6", join="10.0.0.5:6379").check({"RAY_AUTH_TOKEN": "x"})


def test_a_token_is_made_once_and_is_its_owners_alone(tmp_path):
    environment = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "ray" / "token")}
    assert not has_token(environment)
    create_token(environment)
    file = token_file(environment)
    secret = file.read_text()
    assert len(secret) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    create_token(environment)
    assert file.read_text() == secret
    prepare(environment, "10.0.0.5:6379")
    assert environment["RAY_AUTH_MODE"] == "token"
    assert secret not in environment.values()


def test_a_given_token_is_used_and_no_file_is_made(tmp_path):
    environment = {"RAY_AUTH_TOKEN": "x", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    create_token(environment)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "alone"),
    [("127.0.0.1:6379", True), ("localhost", True), ("::1", True), ("10.0.0.5:6379", False)],
)
def test_loopback_is_told_from_other_addresses(address, alone):
    assert is_loopback(address) is alone


def test_a_runner_stays_on_loopback_with_a_cluster_that_does(tmp_path):
    (tmp_path / "ray").mkdir()
    note = tmp_path / "ray" / "ray_current_cluster"
    environment = {"RAY_TMPDIR": str(tmp_path), "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    for address, expected in (("127.0.0.1:7000", "0"), ("10.0.0.5:6379", None)):
        note.write_text(address)
        own = dict(environment)
        prepare(own, "auto")
        assert own.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") == expected


def test_every_process_gets_the_mode_one_thread_and_the_project(tmp_path):
    environment = node_environment(LaunchConfig(), {"PYTHONPATH": "x", "HOME": str(tmp_path)})
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["PYTHONPATH"] == f"{ROOT}{os.pathsep}x"


@pytest.mark.parametrize("name", ["local.yaml", "machine.yaml"])
def test_shipped_launch_files_are_valid(name):
    config = load_config(TEMPLATES / name, LaunchConfig).config
    assert config.teachers >= config.renderers
    assert config.auth == "token"
    assert config.dashboard_host == "127.0.0.1"


def test_rays_own_launcher_starts_more_teachers_than_renderers_with_tokens():
    tree = yaml.safe_load((TEMPLATES / "ray_cluster.yaml").read_text())
    commands = tree["head_start_ray_commands"] + tree["worker_start_ray_commands"]
    starts = [command for command in commands if "ray start" in command]
    assert starts
    for command in starts:
        assert "RAY_AUTH_MODE=token" in command
        teachers = int(re.search(r'"teacher": (\d+)', command)[1])
        renderers = re.search(r'"renderer": (\d+)', command)
        assert teachers > int(renderers[1] if renderers else 0)


def test_a_slurm_job_ends_when_a_part_of_the_cluster_does_not_start(tmp_path):
    """What Slurm brings is played by a few lines, so that the template runs without it."""
    commands = {
        "scontrol": "echo node1 node2 | tr ' ' '\\n'",
        "getent": "echo 127.0.1.1 $2; echo 192.0.2.7 $2",
        "srun": 'echo "$@"; exit 2',
    }
    for name, line in commands.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/bash\n{line}\n")
        path.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_SUBMIT_DIR": str(ROOT),
    }
    job = subprocess.run(
        ["bash", str(TEMPLATES / "slurm.sh"), "dagger.yaml"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert job.returncode == 1
    assert "--nodelist=node1" in job.stdout
    assert "--host 192.0.2.7 --port 6379" in job.stdout
    assert job.stderr == "a part of the cluster has ended, see above\n"


@needs_ray
def test_a_head_on_loopback_listens_there_alone_and_ends_with_all_it_started():
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        cluster = RayCluster(Path(folder))
        try:
            machine = cluster.head(teachers=1, renderers=0)
            everything = psutil.Process(machine.pid).children(recursive=True)
            listening = {
                connection.laddr.ip
                for process in everything
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            }
            assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
            token = token_file(cluster.environment | {"HOME": folder}).name
            secret = (Path(folder) / ".ray" / token).read_text()
            assert secret not in cluster.log.read_text()
            assert not any(secret in " ".join(process.cmdline()) for process in everything)
        finally:
            cluster.stop()
