"""Starts this machine's part of a Ray cluster and stays until it is told to end.

    python -m data_collection.cluster.launch --config data_collection/cluster/templates/local.yaml
    python -m data_collection.cluster.launch --config FILE --join HOST:PORT --teachers 6

The first command makes this machine the head; the second one, on another machine, joins it. Nodes
are what a machine offers: the runner starts its teacher and render nodes there.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import Field, NonNegativeInt

from data_collection.cluster.processes import end_with_parent
from data_collection.cluster.ray_environment import (
    MODE,
    SEVERAL_MACHINES,
    create_token,
    has_token,
    is_loopback,
    token_file,
)
from trainer.cli import run_command
from trainer.config import load_config
from trainer.errors import ConfigError, UserError
from trainer.schema import Strict

_log = logging.getLogger(__name__)

_PROJECT = Path(__file__).parents[2]
_ONE_THREAD_EACH = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_START_WITHIN_S = 120.0
_STARTED = "Ray runtime started"
_MOST_SAID = 1 << 20


class LaunchConfig(Strict):
    """What one machine brings into a cluster."""

    host: str = "127.0.0.1"
    """This machine's address, under which the others reach it; loopback keeps them out."""
    port: Annotated[int, Field(ge=1024, le=65534)] = 6379
    """Of the head; the next one is taken, too."""
    teachers: NonNegativeInt = 1
    """Teacher nodes that this machine can hold: about one for each core."""
    renderers: NonNegativeInt = 0
    """Render nodes: one for each GPU that generates images."""
    trainer: bool = False
    """Whether students are trained here."""
    auth: Literal["token", "none"] = "token"
    """``none`` is for trying things out: whoever reaches a cluster can run code on it."""
    dashboard: bool = False
    """Needs ``pip install 'ray[default]'``."""
    dashboard_host: str = "127.0.0.1"
    object_store_mb: Annotated[int, Field(ge=75)] = 200
    """Memory for what is passed between nodes: pictures on their way to and from render nodes."""


@dataclass(frozen=True)
class Launch:
    """What to start: a head, or a machine that joins one."""

    config: LaunchConfig
    join: str | None = None

    def check(self, environment: Mapping[str, str]) -> None:
        """Raise ConfigError when others could come in without a token."""
        config = self.config
        open_to_others = [
            name
            for name, host, used in (
                ("host", config.host, True),
                ("dashboard_host", config.dashboard_host, config.dashboard),
            )
            if used and not is_loopback(host)
        ]
        if config.auth == "none" and open_to_others:
            raise ConfigError(
                f"{open_to_others[0]}: other machines reach {config.host}, and auth: none lets "
                "everybody run code here; use auth: token"
            )
        if self.join and is_loopback(config.host):
            raise ConfigError(
                f"host: the head would look for this machine at {config.host}, which is itself; "
                "give this machine's own address (--host), and one to the head, too"
            )
        if self.join and config.auth == "token" and not has_token(environment):
            raise ConfigError(
                f"no token to join {self.join} with: copy {token_file(environment)} of the head to "
                "this machine (chmod 600), or set RAY_AUTH_TOKEN"
            )

    def command(self) -> list[str]:
        """Return the command that starts Ray here, until it is terminated."""
        config = self.config
        offered = {
            "teacher": config.teachers,
            "renderer": config.renderers,
            "trainer": int(config.trainer),
        }
        processes = sum(offered.values())
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
            "--disable-usage-stats",
            "--include-log-monitor=false",  # runners do not ask for what it sends
            f"--node-ip-address={config.host}",
            f"--num-cpus={processes}",
            f"--resources={json.dumps({name: n for name, n in offered.items() if n})}",
            f"--object-store-memory={config.object_store_mb * 2**20}",
        ]
        if self.join:
            return [*command, f"--address={self.join}"]
        command += ["--head", f"--port={config.port}"]
        command += [f"--include-dashboard={str(config.dashboard).lower()}"]
        # Ray's client server, which nobody here uses, cannot be switched off; two heads on one
        # machine must not quarrel about its port.
        command += [f"--ray-client-server-port={config.port + 1}"]
        return [*command, f"--dashboard-host={config.dashboard_host}"]

    @property
    def head(self) -> tuple[str, int]:
        """Return where the head listens."""
        if not self.join:
            return self.config.host, self.config.port
        host, _, port = self.join.rpartition(":")
        if not host or not port.isdecimal():
            raise ConfigError(f"--join {self.join}: expected HOST:PORT of the head")
        return host, int(port)


def node_environment(config: LaunchConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the processes on this machine."""
    alone = is_loopback(config.host)
    paths = [str(_PROJECT), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **environment,
        **dict.fromkeys(_ONE_THREAD_EACH, "1"),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        MODE: "token" if config.auth == "token" else "disabled",
        **({SEVERAL_MACHINES: "0"} if alone else {}),
    }


def main(arguments: Sequence[str]) -> int:
    """Run this machine's part until it is told to end, and return the exit code."""
    args = _parser().parse_args(arguments)
    overrides = list(args.set)
    for name in ("teachers", "renderers", "host", "port"):
        if getattr(args, name) is not None:
            overrides.append(f"{name}={json.dumps(getattr(args, name))}")
    if args.trainer is not None:
        overrides.append(f"trainer={json.dumps(args.trainer)}")
    launch = Launch(load_config(args.config, LaunchConfig, overrides).config, args.join)
    launch.check(os.environ)
    if launch.config.auth == "token":
        create_token(os.environ)
    return _run(launch)


def _run(launch: Launch) -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            launch.command(),
            stdout=said,
            stderr=subprocess.STDOUT,
            env=node_environment(launch.config, os.environ),
            start_new_session=True,  # Ctrl-C is this process's to pass on
            preexec_fn=end_with_parent,
        )
        try:
            _wait_until_started(launch, process, said)
            if process.poll() is None:
                _log.info("%s", _welcome(launch))
            code = process.wait()
        except KeyboardInterrupt:
            _log.info("ending")
            code = 0
        finally:
            process.terminate()
            process.wait()
        if code:
            raise UserError(f"Ray ended with exit code {code}; it said:\n{_end_of(said)}")
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _wait_until_started(launch: Launch, process: subprocess.Popen[bytes], said: IO[str]) -> None:
    """Return once Ray says that it runs here; raise UserError when it does not in good time."""
    deadline = time.monotonic() + _START_WITHIN_S
    while process.poll() is None and _STARTED not in _all_of(said):
        if time.monotonic() > deadline:
            host, port = launch.head
            raise UserError(
                f"Ray does not start within {_START_WITHIN_S:g} s; is there a head at "
                f"{host}:{port}, and does nothing stand between? It said:\n{_end_of(said)}"
            )
        time.sleep(0.1)


def _welcome(launch: Launch) -> str:
    config, (host, port) = launch.config, launch.head
    offer = f"{config.teachers} teacher nodes, {config.renderers} render nodes"
    offer += ", the trainer node" if config.trainer else ""
    if launch.join:
        return f"joined {host}:{port} with {offer}; Ctrl-C ends this machine's part"
    lines = [
        f"head at {host}:{port} with {offer}; Ctrl-C ends it",
        "run: python data_collection/dagger_runner.py --backend ray --dagger_config FILE",
    ]
    if config.auth == "token":
        lines.append(f"token: {token_file(os.environ)}, which machines that join need, too")
    return "\n".join(lines)


def _all_of(said: IO[str]) -> str:
    # Ray writes through the same open file: only reading at a place leaves its position alone.
    return os.pread(said.fileno(), _MOST_SAID, 0).decode(errors="replace")


def _end_of(said: IO[str]) -> str:
    return "\n".join(_all_of(said).splitlines()[-20:])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launch.py",
        description="Start this machine's part of a Ray cluster; Ctrl-C ends it.",
        epilog="example: python -m data_collection.cluster.launch --config "
        "data_collection/cluster/templates/local.yaml --teachers 2 --renderers 1",
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--join", metavar="HOST:PORT", help="of the head; without it this is one")
    parser.add_argument("--teachers", type=int, metavar="N", help="teacher nodes of this machine")
    parser.add_argument("--renderers", type=int, metavar="M", help="render nodes of this machine")
    parser.add_argument(
        "--trainer", action=argparse.BooleanOptionalAction, default=None, help="train here"
    )
    parser.add_argument("--host", help="this machine's address")
    parser.add_argument("--port", type=int, help="of the head")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one value"
    )
    return parser


if __name__ == "__main__":
    run_command(main)
