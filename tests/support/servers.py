"""Real storage servers on loopback: sftp in a child process, S3 in a thread."""

import asyncio
import multiprocessing
import os
import signal
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import asyncssh
from moto.server import ThreadedMotoServer

from tests.support.ports import free_port


def _serve(folder: str, port: int, host_key: str, user_key: str, ready) -> None:
    async def run() -> None:
        await asyncssh.listen(
            "127.0.0.1",
            port,
            server_host_keys=[host_key],
            authorized_client_keys=user_key,
            sftp_factory=partial(asyncssh.SFTPServer, chroot=folder),
        )
        ready.set()
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def sftp_server(folder: Path, home: Path):
    """Yield the URL of a server whose root is ``folder``, and which knows the user of ``home``."""
    ssh = home / ".ssh"
    ssh.mkdir(parents=True)
    host, user = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    host.write_private_key(ssh / "host")
    user.write_private_key(ssh / "id_ed25519")
    user.write_public_key(ssh / "authorized")
    port = free_port()
    public = host.export_public_key().decode()
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    children = multiprocessing.get_context("spawn")
    ready = children.Event()
    keys = str(ssh / "host"), str(ssh / "authorized")
    server = children.Process(target=_serve, args=(str(folder), port, *keys, ready))
    server.start()
    try:
        assert ready.wait(60)
        yield f"sftp://{os.environ.get('USER', 'somebody')}@127.0.0.1:{port}/rounds"
    finally:
        os.kill(server.pid, signal.SIGKILL)
        server.join()


@contextmanager
def s3_server():
    """Yield the address of a server."""
    server = ThreadedMotoServer("127.0.0.1", free_port())
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
