"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from data_collection.episodes.schema import EpisodeError

_BLOCK = 1 << 22


def canonical_json(value: object) -> bytes:
    """Return the one spelling of ``value`` that this format writes, with a final newline."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)
    return text.encode() + b"\n"


def sha256(path: Path) -> str:
    """Return the hash of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_range(path: Path, start: int, size: int) -> str:
    """Return the hash of ``size`` bytes from ``start``; a shorter file gives another hash."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        while size > 0 and (block := file.read(min(size, _BLOCK))):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


def write_new(path: Path, *pieces: bytes | memoryview) -> str:
    """Return the SHA-256 of the pieces end to end, after writing them to ``path`` unsynced.

    Raises:
        EpisodeError: The disk is full, or anything else; then the file is removed.
    """
    digest = hashlib.sha256()
    try:
        with path.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise cannot_write(path, error) from error
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        os.close(descriptor)


def replace(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` at once: temporary name, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.tmp")
    write_new(temporary, data)
    try:
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def cannot_write(path: Path, error: OSError) -> EpisodeError:
    """Return the error for a failed write, with what to do."""
    reason = error.strerror or str(error)
    return EpisodeError(
        f"{path}: could not be written: {reason}; nothing half-written was left. "
        "Free some space or choose another folder, then run again"
    )
