"""Three machines, played by network namespaces that a bridge joins, and the how-to's commands."""

import json
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from data_collection.cluster.ray_environment import token_file
from data_collection.episodes import verify_round
from tests.support.dagger import SETTINGS
from tests.support.ray_cluster import HEAD, JOIN, ROOT, RayCluster, needs_ray, with_storage

pytestmark = [needs_ray, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("ray")]

CONFIG = ROOT / "experiment_training/dagger/button_press_generated/exp1/dagger.yaml"
HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
PORT = 6379


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def namespace(name: str):
    """Yield a network of its own, whose loopback is up."""
    ip("netns", "add", name)
    try:
        ip("-netns", name, "link", "set", "lo", "up")
        yield name
    finally:
        ip("netns", "del", name)


@contextmanager
def private_network(folder: Path):
    """Yield the machines' namespaces; skip where this user may not make any."""
    with ExitStack() as stack:
        try:
            switch, *names = (
                stack.enter_context(namespace(f"{folder.name}_{i}")) for i in range(len(HOSTS) + 1)
            )
            ip("-netns", switch, "link", "add", "bridge", "type", "bridge")
            ip("-netns", switch, "link", "set", "bridge", "up")
            for i, (name, host) in enumerate(zip(names, HOSTS, strict=True)):
                port = f"port{i}"
                ip("-netns", switch, "link", "add", port, "type", "veth",
                   "peer", "name", "eth0", "netns", name)  # fmt: skip
                ip("-netns", switch, "link", "set", port, "master", "bridge", "up")
                ip("-netns", name, "address", "add", f"{host}/24", "dev", "eth0")
                ip("-netns", name, "link", "set", "eth0", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or error
            pytest.skip(f"network namespaces cannot be made here: {said}")
        yield names


@pytest.fixture
def machines():
    """Three machines of which each has a network, a home and temporary files of its own."""
    with tempfile.TemporaryDirectory(prefix="ray") as folder, ExitStack() as stack:
        names = stack.enter_context(private_network(Path(folder)))
        made = []
        for name, host in zip(names, HOSTS, strict=True):
            home = Path(folder) / name[-1]
            home.mkdir()
            machine = RayCluster(home, host, within=("nsenter", f"--net=/run/netns/{name}"))
            machine.port = PORT
            stack.callback(machine.stop)
            made.append(machine)
        yield made


def give_token(giver: RayCluster, taker: RayCluster) -> None:
    """Copy the token, as ``scp`` does in the how-to."""
    name = token_file({"RAY_AUTH_TOKEN_PATH": ""}).relative_to(Path.home())
    (taker.folder / name).parent.mkdir(mode=0o700)
    shutil.copy2(giver.folder / name, taker.folder / name)


def test_one_machine_trains_one_plays_and_one_generates_pictures(machines, tmp_path):
    head, player, renderer = machines
    head.launch(*HEAD, "--teachers", "0", "--renderers", "0")  # the last word counts
    for machine, offer in ((player, ("2", "0")), (renderer, ("0", "1"))):
        give_token(head, machine)
        command = [*JOIN, "--host", machine.host, "--teachers", offer[0], "--renderers", offer[1]]
        machine.launch(*command)
    assert "joined 10.0.0.1:6379 with 2 teacher nodes, 0 render nodes" in player.log.read_text()
    more = {
        "save_dir": str(tmp_path / "run"),
        "phase2.inference_batch": 2,
        "evaluation.video_every": -1,
        "cluster.report_every_s": 0.2,
    }
    settings = [f"--set={key}={json.dumps(value)}" for key, value in (SETTINGS | more).items()]
    command = with_storage(str(CONFIG), str(tmp_path / "storage"))
    code, output = head.run(*command, *settings, timeout_s=600)
    assert code == 0, output
    # Each of them offers what the two others lack.
    assert "episodes a minute: teacher_0" in output
    assert "pictures a minute: teacher_queue_renderer_0" in output
    assert "trainer: step 12, train/loss" in output
    for index, episodes in enumerate((3, 2)):
        folder = tmp_path / "run" / "data" / f"round_{index:03d}"
        assert verify_round(folder) == []
        assert len((folder / "manifest.jsonl").read_text().splitlines()) == episodes
