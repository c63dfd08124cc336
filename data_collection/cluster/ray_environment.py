"""What Ray reads from the environment: the secret of a cluster, and whether it stays on loopback.

All of it has to be set before Ray is imported, so nothing here imports it. The token is what the
machines of a cluster share; it is never written into logs or configurations. Ray looks for it in
``RAY_AUTH_TOKEN``, in the file ``RAY_AUTH_TOKEN_PATH``, in ``~/.ray/auth_token``;
``RAY_AUTH_MODE=token`` makes it demand it.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path

MODE = "RAY_AUTH_MODE"

SEVERAL_MACHINES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""``0``: Ray listens on loopback alone, on every system. Otherwise it takes 127.0.0.1 for another
name of the machine's outer address, and listens on all of them."""

_TOKEN, _TOKEN_PATH = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


def token_file(environment: Mapping[str, str]) -> Path:
    """Return where the token is, or would be, kept."""
    return Path(environment.get(_TOKEN_PATH) or "~/.ray/auth_token").expanduser()


def has_token(environment: Mapping[str, str]) -> bool:
    """Return whether there is a token."""
    file = token_file(environment)
    return bool(environment.get(_TOKEN)) or (file.is_file() and bool(file.read_text().strip()))


def create_token(environment: Mapping[str, str]) -> None:
    """Write a new token where none is, readable by its owner alone."""
    if has_token(environment):
        return
    file = token_file(environment)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as writer:
        writer.write(secrets.token_hex(32))


def prepare(environment: MutableMapping[str, str], address: str) -> None:
    """Set what a runner needs to reach the cluster at ``address``; what is set already stays."""
    if has_token(environment):
        environment.setdefault(MODE, "token")
    if is_loopback(_current_cluster(environment) if address == "auto" else address):
        environment.setdefault(SEVERAL_MACHINES, "0")


def is_loopback(address: str) -> bool:
    """Return whether ``HOST`` or ``HOST:PORT`` can be reached from this machine alone."""
    host = address.rpartition(":")[0] if address.count(":") == 1 else address
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _current_cluster(environment: Mapping[str, str]) -> str:
    """Return the address of the cluster that was started last on this machine, as Ray notes it."""
    if "RAY_ADDRESS" in environment:
        return environment["RAY_ADDRESS"]
    folder = environment.get("RAY_TMPDIR") or tempfile.gettempdir()
    note = Path(folder) / "ray" / "ray_current_cluster"
    return note.read_text().strip() if note.is_file() else ""
