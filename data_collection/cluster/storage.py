"""Files in a storage that all machines reach: a folder, an sftp server, an object store.

Copies are resumable and hash-checked. A file is never visible under its final name before it is
whole: where names can be changed it gets another one first, and object stores show only what is
complete. Credentials come from the environment (``FSSPEC_…``, ``AWS_…``, an SSH agent), never from
a URL, which is written into configurations.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar, cast

import fsspec
from fsspec.core import split_protocol

from trainer.errors import ConfigError, DataError
from trainer.files import fsync_path, sha256_of

_log = logging.getLogger(__name__)

T = TypeVar("T")

_BLOCK = 1 << 20
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "az", "oss", "oci"}
_SSH = {"sftp", "ssh"}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PAUSES_S = (0.2, 1.0, 4.0)
"""Between attempts at what a shaky network makes fail."""
_SSH_SILENT_S = 60.0
"""After so long without a byte of an SSH server its connection counts as broken: it might hang."""


class DamagedError(DataError):
    """A file is not what was once written, or is gone."""


class Storage:
    """The files below one URL. Threads may share it.

    Args:
        url: Of the root, as ``ClusterConfig`` has checked it: it holds no secrets.

    Raises:
        ConfigError: Its protocol is unknown or not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._protocol = split_protocol(url)[0] or "file"
        self._here = threading.local()
        self._mark = secrets.token_hex(4)
        """In the names of parts: whoever writes the same file at the same time has another one."""
        try:
            kind = fsspec.get_filesystem_class(self._protocol)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"cluster.storage: {url}: {error}; pip install '.[cluster]' brings sftp and s3"
            ) from error
        root = kind._strip_protocol(url)
        self._root = str(root).rstrip("/")
        # Relative local paths would mean another folder on each machine.
        if self._protocol in {"file", "local"}:
            self._root = str(Path(self._root).absolute())

    def put(self, source: Path, key: str) -> None:
        """Copy a file of this machine to ``key``, going on where an earlier copy stopped.

        Raises:
            DataError: It cannot be written.
        """
        self._persistently(f"writing {key}", lambda: self._put(source, self._path(key)))

    def get(self, key: str, target: Path, sha256: str | None = None) -> None:
        """Copy ``key`` to a file of this machine, going on where an earlier copy stopped.

        Args:
            key: What to copy.
            target: Where it goes; until it is whole it is called ``.{name}.part``.
            sha256: What its hash must be, where that is known.

        Raises:
            DamagedError: It is missing, or damaged.
            DataError: It cannot be read, or there is no room for it.
        """

        def got() -> None:
            try:
                self._get(self._path(key), target, sha256)
            except FileNotFoundError as error:
                raise DamagedError(f"{self.url}: reading {key}: there is no such file") from error

        self._persistently(f"reading {key}", got)

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the bytes of each whole file directly in ``folder``, by name; often none."""

        def listed() -> dict[str, int]:
            files = self._files
            files.invalidate_cache()
            try:
                entries = files.ls(self._path(folder), detail=True)
            except FileNotFoundError:
                return {}
            found = {PurePosixPath(e["name"]).name: e for e in entries if e["type"] == "file"}
            return {name: e["size"] for name, e in found.items() if not name.startswith(".")}

        return self._persistently(f"listing {folder}", listed)

    def _path(self, key: str) -> str:
        """Return the full path of a key; raise ConfigError when it would leave the root."""
        path = PurePosixPath(key)
        if path.is_absolute() or ".." in path.parts or "\\" in key or "\0" in key or not path.parts:
            raise ConfigError(f"cluster.storage: {key!r} is no path below {self.url}")
        full = f"{self._root}/{path}"
        if self._protocol in {"file", "local"} and not Path(full).resolve().is_relative_to(
            Path(self._root).resolve()
        ):
            raise ConfigError(f"cluster.storage: {key!r} leaves {self.url} through a link")
        return full

    @property
    def _files(self) -> fsspec.AbstractFileSystem:
        """This thread's own connection: not every file system allows several threads on one."""
        files = getattr(self._here, "files", None)
        if files is None:
            files = self._here.files = self._connect()
        return files

    def _connect(self) -> fsspec.AbstractFileSystem:
        kind = fsspec.get_filesystem_class(self._protocol)
        options = kind._get_kwargs_from_urls(self.url)
        if self._protocol not in _SSH:
            return fsspec.filesystem(self._protocol, skip_instance_cache=True, **options)
        from data_collection.cluster.known_hosts import KnownHostsPolicy

        options |= {"host_key_policy": KnownHostsPolicy()}
        options |= {"timeout": _SSH_SILENT_S, "channel_timeout": _SSH_SILENT_S}
        files = fsspec.filesystem(self._protocol, skip_instance_cache=True, **options)
        files.ftp.get_channel().settimeout(_SSH_SILENT_S)
        return files

    def _persistently(self, doing: str, action: Callable[[], T]) -> T:
        """Return what the action returns, after a few attempts if need be."""
        for pause_s in (*_PAUSES_S, None):
            try:
                return action()
            except (ConfigError, DataError):
                raise
            except Exception as error:  # each file system has errors of its own
                self._here.files = None  # the connection may be broken
                full = getattr(error, "errno", None) in _FULL
                if full or pause_s is None:
                    advice = self._advice(full)
                    raise DataError(f"{self.url}: {doing} failed: {error}; {advice}") from error
                _log.warning("%s: %s failed: %s; another attempt follows", self.url, doing, error)
                time.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def _advice(self, full: bool) -> str:
        """Return what to do about what fails again and again."""
        if full:
            return "free some space, then run again"
        advice = "check the address, the credentials in the environment, the network"
        # The protocol has no code for it: paramiko's error is the server's text, often "Failure".
        return f"{advice}, or its disk is full" if self._protocol in _SSH else advice

    def _put(self, source: Path, final: str) -> None:
        files = self._files
        files.makedirs(files._parent(final), exist_ok=True)
        if self._protocol in _OBJECT_STORES:
            files.put_file(str(source), final)
            return
        size, digest = source.stat().st_size, sha256_of(source)
        folder, _, name = final.rpartition("/")
        part = f"{folder}/.{name}.{digest[:16]}.{self._mark}.part"
        done = files.info(part)["size"] if files.exists(part) else 0
        mode = "ab" if done <= size else "wb"
        with source.open("rb") as reader, _opened(files, part, mode) as to:
            reader.seek(done if done <= size else 0)
            shutil.copyfileobj(reader, to, _BLOCK)
        if files.info(part)["size"] != size or (done and _remote_sha256(files, part) != digest):
            files.rm_file(part)
            raise OSError(f"{name} did not arrive whole")
        files.mv(part, final)

    def _get(self, path: str, target: Path, sha256: str | None) -> None:
        part = target.with_name(f".{target.name}.part")
        files = self._files
        size = files.info(path)["size"]
        done = part.stat().st_size if part.exists() else 0
        with part.open("ab" if done <= size else "wb") as to, _opened(files, path, "rb") as reader:
            reader.seek(to.tell())
            shutil.copyfileobj(reader, to, _BLOCK)
        if part.stat().st_size != size or (sha256 is not None and sha256_of(part) != sha256):
            part.unlink()
            if done:  # what was there before may be to blame
                raise OSError("the copy does not match its hash")
            raise DamagedError(f"{self.url}: {path} is damaged: its hash is not the one on record")
        fsync_path(part)
        part.replace(target)
        fsync_path(target.parent)


def _opened(files: fsspec.AbstractFileSystem, path: str, mode: str) -> BinaryIO:
    return cast(BinaryIO, files.open(path, mode))


def _remote_sha256(files: fsspec.AbstractFileSystem, path: str) -> str:
    digest = hashlib.sha256()
    with _opened(files, path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
