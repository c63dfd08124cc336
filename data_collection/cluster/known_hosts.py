"""SSH servers are trusted when ``~/.ssh/known_hosts`` knows their key, and not otherwise."""

from __future__ import annotations

from pathlib import Path

import paramiko

from trainer.errors import ConfigError


class KnownHostsPolicy(paramiko.MissingHostKeyPolicy):
    """Refuses servers whose key is unknown or has changed."""

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        """Raise ConfigError unless this key of ``hostname`` is known."""
        path = Path.home() / ".ssh" / "known_hosts"
        known = paramiko.HostKeys(str(path) if path.is_file() else None)
        if not known.check(hostname, key):
            host, _, port = hostname.strip("[]").partition("]:")
            raise ConfigError(
                f"cluster.storage: {path} does not hold the {key.get_name()} key that {hostname} "
                f"shows; if it is the right machine: ssh-keyscan -p {port or 22} {host} >> {path}"
            )
