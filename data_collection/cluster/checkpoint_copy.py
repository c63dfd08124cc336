"""A student's checkpoint in the storage, named by its manifest, which holds all its files' hashes.

Weights alone would not do as a name: checkpoints of two experiments may differ in nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from data_collection.cluster.storage import Storage
from trainer.checkpoint import MANIFEST, Checkpoint
from trainer.files import sha256_of


def put_checkpoint(storage: Storage, checkpoint: Checkpoint) -> str:
    """Return where the storage has a checkpoint, having brought there what was missing."""
    folder = checkpoint.folder
    prefix = f"checkpoints/{sha256_of(folder / MANIFEST)}"
    there = storage.sizes(prefix)
    for name in [*_hashes(folder / MANIFEST), MANIFEST]:
        if there.get(name) != (folder / name).stat().st_size:
            storage.put(folder / name, f"{prefix}/{name}")
    return prefix


def get_checkpoint(storage: Storage, prefix: str, folder: Path) -> None:
    """Copy the checkpoint that ``put_checkpoint`` has left at ``prefix`` into a folder.

    Raises:
        DamagedError: A file of it is missing, or is not the one that was put there.
        DataError: It cannot be read, or there is no room for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST
    storage.get(f"{prefix}/{MANIFEST}", manifest, PurePosixPath(prefix).name)
    for name, sha256 in _hashes(manifest).items():
        storage.get(f"{prefix}/{name}", folder / name, sha256)


def _hashes(manifest: Path) -> dict[str, str]:
    files = json.loads(manifest.read_text())["files"]
    return {name: entry["sha256"] for name, entry in files.items()}
