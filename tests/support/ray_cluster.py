"""A real Ray cluster of a few processes, started by the commands that the docs name."""

import contextlib
import importlib.util
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from data_collection.cluster.ray_environment import is_loopback, prepare
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to" / "cluster.md"


def documented(*words: str) -> list[str]:
    """Return the arguments of the how-to's first ``python …`` command with these words."""
    lines = (line.strip() for line in HOW_TO.read_text().splitlines())
    command = next(
        line for line in lines if line.startswith("python ") and all(word in line for word in words)
    )
    return shlex.split(command)[1:]


ALONE = documented("cluster.launch", "local.yaml")
HEAD = documented("cluster.launch", "--trainer")
JOIN = documented("cluster.launch", "--join")
COLLECT = documented("collect.py")
DAGGER = documented("dagger_runner.py")


def with_storage(config: str, url: str) -> list[str]:
    """Return the how-to's command that runs a DAgger experiment with a storage."""
    words = documented("dagger_runner.py", "cluster.storage=")
    told = {"FILE": config, words[-1]: f"cluster.storage={url}"}
    return [told.get(word, word) for word in words]


needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install '.[cluster]'"
)


def own_address() -> str | None:
    """Return an address of this machine which others could reach, None without a network."""
    stats = psutil.net_if_stats()
    return next(
        (
            address.address
            for name, addresses in psutil.net_if_addrs().items()
            for address in addresses
            if address.family == socket.AF_INET
            and not address.address.startswith("127.")
            and stats[name].isup
        ),
        None,
    )


needs_network = pytest.mark.skipif(
    own_address() is None, reason="machines join under another address than loopback; there is none"
)


class RayCluster:
    """A head on this machine, and machines that join it; everything under ``folder``.

    Args:
        folder: For Ray's files and the token.
        host: This machine's address; machines can join when it is not loopback.
        within: Words before each command, which make it run elsewhere.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1", within: Sequence[str] = ()) -> None:
        self.folder = folder
        self.host = host
        self._python = [*within, sys.executable]
        self.port = free_port()
        self.log = folder / "launch.log"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
            "HOME": str(folder),  # for the token
            "RAY_TMPDIR": str(folder),
            "TMPDIR": str(folder),  # killed nodes leave theirs
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        self.machines: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def launch(self, *command: str, wait: bool = True) -> subprocess.Popen[bytes]:
        """Start a machine's part, and wait until it says that it is ready."""
        before = self.log.read_text().count("Ctrl-C ends") if self.log.exists() else 0
        with self.log.open("a") as log:
            machine = subprocess.Popen(
                [*self._python, *command],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.machines.append(machine)
        if not wait:
            return machine
        wait_until(
            lambda: machine.poll() is not None or self.log.read_text().count("Ctrl-C ends") > before
        )
        assert machine.poll() is None, self.log.read_text()
        return machine

    def head(self, **offers: int) -> subprocess.Popen[bytes]:
        here = ("--host", self.host, "--port", str(self.port))  # the last word counts
        command = ALONE if is_loopback(self.host) else HEAD
        return self.launch(*command, *here, *_options(offers))

    def join(self, *, wait: bool = True, **offers: int) -> subprocess.Popen[bytes]:
        here = ("--host", self.host, "--join", self.address)
        return self.launch(*JOIN, *here, *_options(offers), wait=wait)

    def start(
        self, *command: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command of the project on the cluster, with changes to its environment."""
        return subprocess.Popen(
            [*self._python, *command, "--address", self.address],
            cwd=ROOT,
            env=self.environment | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(
        self,
        *command: str,
        timeout_s: float = 200,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run a command to its end; return its exit code and what it printed."""
        process = self.start(*command, environment=environment)
        try:
            output, _ = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        return process.returncode, output

    def processes(self, kind: str, *of: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """Return the processes of machines, all by default, whose title has these words."""
        return [
            process
            for machine in of or self.machines
            for process in _descendants(machine.pid)
            if kind in _title(process)
        ]

    @contextlib.contextmanager
    def connected(self):
        """Connect this process, too; it is the runner then."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            prepare(os.environ, self.address)
            from data_collection.cluster.ray_backend import ray_backend

            with ray_backend(self.address) as backend:
                yield backend

    def wait_for(self, kind: str) -> psutil.Process:
        wait_until(lambda: self.processes(kind))
        return self.processes(kind)[0]

    def end(self, machine: subprocess.Popen[bytes]) -> None:
        """End a machine's part as Ctrl-C does."""
        machine.send_signal(signal.SIGINT)
        machine.wait(60)
        self.machines.remove(machine)

    def crash(self, machine: subprocess.Popen[bytes]) -> None:
        """Kill all processes of a machine at once, as when it loses power."""
        everything = [*_descendants(machine.pid), psutil.Process(machine.pid)]
        for process in everything:
            _signal(process, signal.SIGKILL)
        machine.wait(60)
        self.machines.remove(machine)

    def stop(self) -> None:
        """End everything, and check that nothing is left."""
        everything = [p for machine in self.machines for p in _descendants(machine.pid)]
        for machine in list(self.machines)[::-1]:
            self.end(machine)
        _, alive = psutil.wait_procs(everything, timeout=30)
        for process in alive:
            process.kill()
        assert not alive, f"still running after the cluster's end: {alive}"


@contextlib.contextmanager
def running_head(host: str = "127.0.0.1", **offers: int) -> Iterator[RayCluster]:
    """Yield a cluster of one machine that offers this; all of it is ended afterwards."""
    # Ray's sockets lie there, and their paths must be short.
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        cluster = RayCluster(Path(folder), host)
        try:
            cluster.head(**offers)
            yield cluster
        finally:
            cluster.stop()


def _options(offers: Mapping[str, int]) -> list[str]:
    words: list[str] = []
    for name, count in offers.items():
        if isinstance(count, bool):
            words.append(f"--{name}" if count else f"--no-{name}")
        else:
            words += [f"--{name}", str(count)]
    return words


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def wait_until(condition, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)
