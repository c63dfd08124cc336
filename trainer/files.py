"""Files that are either whole or not there, and folders that one process alone writes to."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainer.errors import ConfigError, UserError

_LOCK = ".lock"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync_path(path: Path) -> None:
    """Flush a file's or a directory's own data to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new content, never a part.

    Raises:
        UserError: It cannot be written; the old content, if any, is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            temporary.write_text(text)
            fsync_path(temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_path(path.parent)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says against writing ``path`` into a UserError."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error.strerror or str(error)) from error


def cannot_write(path: object, reason: str) -> UserError:
    """Return the error for a file that could not be written, with what to do."""
    return UserError(
        f"cannot write {path}: {reason}; make room, or choose a folder that can be written to, and "
        "start the same command again"
    )


def is_full(error: BaseException) -> bool:
    """Return whether an error says that a disk, a quota or a file takes no more."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextmanager
def locked_folder(folder: Path, taken: str) -> Iterator[None]:
    """Yield while no other process can enter ``folder``, which is made if need be.

    The lock ends with this process, however that ends; its child processes never hold it. A folder
    that was made here and into which nothing came is removed again.

    Args:
        folder: Whose file ``.lock`` is locked.
        taken: Says what another process does there, and what to do about it.

    Raises:
        ConfigError: Another process is there.
        UserError: The folder cannot be made, written to or locked.
    """
    try:
        made = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        # Appending leaves the file, and so the folder's times, as they are.
        lock = (folder / _LOCK).open("a")
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error}") from error
    with lock:
        try:
            # lockf, not flock: a forked worker that outlives its killed parent must not hold it.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise ConfigError(taken) from None
        except OSError as error:
            raise UserError(f"{folder}: this file system knows no locks: {error}") from error
        try:
            yield
        finally:
            if made and [entry.name for entry in folder.iterdir()] == [_LOCK]:
                (folder / _LOCK).unlink()
                with suppress(OSError):  # somebody else has put something beside it
                    for each in made:
                        each.rmdir()
