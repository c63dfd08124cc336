"""Checkpoints: written atomically, verified before they are read, found.

A checkpoint is a folder ``epoch_{N}`` (N completed epochs) or ``interrupt``:

    {component}.pt        the weights to act with (the EMA or averaged ones where there are any)
    training_state.pt     what else an exact resume needs
    config.yaml           the resolved experiment; itself a valid --train_config, but not that of
                          an on-line distillation, whose own is distillation.yaml
    resolved.yaml         the resolved model components, the data's environment, the project root
    normalization.json    the statistics of the policy's normaliser
    manifest.json         format version, step, passes over the data, hashes of the files above
                          and below, versions
    *.safetensors         what else a run keeps: the history of an on-line distillation
    metrics.json          validation and evaluation figures, written after the rest (with it, where
                          a distillation reviews before it saves)
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainer.errors import CheckpointError
from trainer.files import fsync_path, is_full, sha256_of, write_text_atomically

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
METRICS = "metrics.json"
TRAINING_STATE = "training_state.pt"
INTERRUPT = "interrupt"
BEST_NOTE = "best.json"
"""In a run's folder: which of its checkpoints is the best."""
_EPOCH = re.compile(r"epoch_(\d+)")
_REPLACED = re.compile(r"\.(interrupt|epoch_\d+)\.replaced")

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint folder and what its manifest says."""

    folder: Path
    step: int
    epoch: int
    passes: float
    """Epochs trained, with the part of the begun one."""
    manifest: Mapping[str, object]

    @property
    def progress(self) -> tuple[float, int]:
        """What orders a run's checkpoints, on however many ranks it went on."""
        return self.passes, self.step

    @property
    def weights_sha256(self) -> str:
        """The hash of the acting weights' file hashes: names this policy in the data it made."""
        return str(self.manifest["weights_sha256"])

    def read_text(self, name: str) -> str:
        """Return one of the text files."""
        return (self.folder / name).read_text()

    def component(self, name: str) -> StateDict:
        """Return the acting weights of a component, on the CPU."""
        return torch.load(self.folder / f"{name}.pt", map_location="cpu", weights_only=True)

    def components(self) -> list[str]:
        """Return the names of the components, sorted."""
        files = self.manifest["files"]
        if not isinstance(files, dict):
            raise CheckpointError(f"{self.folder / MANIFEST}: 'files' is not a mapping")
        return sorted(f[:-3] for f in files if f.endswith(".pt") and f != TRAINING_STATE)

    def metrics(self) -> dict[str, float]:
        """Return the figures recorded for this checkpoint; empty when it was never reviewed."""
        path = self.folder / METRICS
        return json.loads(path.read_text()) if path.exists() else {}

    def training_state(self) -> dict[str, object]:
        """Return what an exact resume needs."""
        return torch.load(self.folder / TRAINING_STATE, map_location="cpu", weights_only=True)


def save_checkpoint(
    save_dir: Path,
    name: str,
    *,
    components: Mapping[str, StateDict],
    training_state: Mapping[str, object],
    texts: Mapping[str, str],
    step: int,
    epoch: int,
    passes: float | None = None,
    attachments: Sequence[Path] = (),
) -> Path:
    """Write ``save_dir/name`` so that it is either whole or not there, and return it.

    It takes the place of an older checkpoint of that name: an interrupt's, or that of the last
    epoch of a run which was shorter once and ended within it. ``attachments`` are files on the same
    disk that move into it; ``passes`` are the epochs trained, with the part of the begun one
    where there is one.

    Raises:
        CheckpointError: the disk is full; nothing half-written stays, older checkpoints do.
    """
    temporary = save_dir / f".{name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for component, state in components.items():
            torch.save(state, temporary / f"{component}.pt")
        torch.save(dict(training_state), temporary / TRAINING_STATE)
        for file, text in texts.items():
            (temporary / file).write_text(text)
        for path in attachments:
            path.rename(temporary / path.name)
        _write_manifest(
            temporary, step=step, epoch=epoch, passes=epoch if passes is None else passes
        )
        for path in [*temporary.iterdir(), temporary]:
            fsync_path(path)
        target = _rename_into_place(temporary, save_dir / name)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        shutil.rmtree(temporary, ignore_errors=True)
        newest = newest_checkpoint(save_dir)
        kept = f"the last complete one is {newest.folder}" if newest else "there was none before"
        reason = (
            "the disk is full"
            if is_full(error) or shutil.disk_usage(save_dir).free < 1 << 20
            else str(error)
        )
        raise CheckpointError(
            f"could not write the checkpoint {save_dir / name}: {reason}; {kept}. "
            "Free some space and start the same command again: it goes on from there"
        ) from error
    return target


def record_metrics(folder: Path, metrics: Mapping[str, float]) -> None:
    """Write a checkpoint's figures beside it, once they are known."""
    write_text_atomically(folder / METRICS, json.dumps(dict(metrics), indent=1) + "\n")


def _rename_into_place(temporary: Path, target: Path) -> Path:
    replaced = target.with_name(f".{target.name}.replaced")
    if target.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        target.rename(replaced)  # newest_checkpoint still finds it if we die right here
    temporary.rename(target)
    fsync_path(target.parent)
    if replaced.exists():
        delete_checkpoint(replaced)
    return target


def _write_manifest(folder: Path, *, step: int, epoch: int, passes: float) -> None:
    files = {
        path.name: {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
    }
    weights = [
        f"{name}:{entry['sha256']}"
        for name, entry in files.items()
        if name.endswith(".pt") and name != TRAINING_STATE
    ]
    manifest = {
        "format_version": FORMAT_VERSION,
        "step": step,
        "epoch": epoch,
        "passes": passes,
        "files": files,
        "weights_sha256": _sha256_of_text("\n".join(weights)),
        "git_revision": _git_revision(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


def open_checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint in ``folder`` after comparing every file with its hash.

    Raises:
        CheckpointError: not a checkpoint, another format version, a missing or altered file.
    """
    checkpoint = _read_manifest(folder)
    files = checkpoint.manifest["files"]
    if not isinstance(files, dict):
        raise CheckpointError(f"{folder / MANIFEST}: 'files' is not a mapping")
    for name, entry in files.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(
                f"{path} is missing from the checkpoint; restore it, or delete {folder} to use "
                "an older one"
            )
        if sha256_of(path) != entry["sha256"]:
            raise CheckpointError(
                f"{path} was altered or damaged after it was saved (its SHA-256 is not the one in "
                f"{MANIFEST}); restore it, or delete {folder} to use an older one"
            )
    return checkpoint


def checkpoints_of(save_dir: Path) -> list[Checkpoint]:
    """Return the complete checkpoints in ``save_dir``, unverified, the newest one first."""
    found = [_read_manifest(folder) for folder in _folders(save_dir)]
    return sorted(found, key=lambda c: c.progress, reverse=True)


def newest_checkpoint(save_dir: Path) -> Checkpoint | None:
    """Return the newest complete checkpoint in ``save_dir``, unverified."""
    return next(iter(checkpoints_of(save_dir)), None)


def resolve_checkpoint(path: Path) -> Checkpoint:
    """Return the verified checkpoint at ``path``: its own, a run's newest, or ``RUN/best``.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    if (path / MANIFEST).is_file():
        return open_checkpoint(path)
    if path.name == Path(BEST_NOTE).stem and not path.is_dir():
        return open_checkpoint(_best_of(path.parent))
    newest = newest_checkpoint(path) if path.is_dir() else None
    if newest is None:
        raise CheckpointError(
            f"{path} is neither a checkpoint (a folder with {MANIFEST}) nor a run with any"
            f"{_best_round_in(path) or _newest_run_below(path)}"
        )
    return open_checkpoint(newest.folder)


def _best_of(run: Path) -> Path:
    """Return the folder of a run's best checkpoint."""
    note = run / BEST_NOTE
    if not note.is_file():
        raise CheckpointError(
            f"{run / note.stem}: there is no {note}; a run writes it when train.checkpoints.best "
            "names a figure and that was measured once. Name an epoch, or the run for its newest"
        )
    try:
        return run / json.loads(note.read_text())["checkpoint"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{note} is damaged ({error!r}); name an epoch instead") from error


def _best_round_in(folder: Path) -> str:
    """Return a hint at the best round of a DAgger experiment, as its summary has it."""
    try:
        summary = json.loads((folder / "summary.json").read_text())
        best, number = folder / summary["best_checkpoint"], summary["best_round"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f"; of the rounds in it {number} is the best, which trained {best}"


def _newest_run_below(folder: Path) -> str:
    """Return a hint at the run that saved last, as in the rounds of a DAgger experiment."""
    saved = [path for path in folder.rglob(MANIFEST) if _EPOCH.fullmatch(path.parent.name)]
    if not saved:
        return ""
    newest = max(saved, key=lambda path: path.stat().st_mtime)
    return f"; the newest run below it is {newest.parents[1]}"


def leftovers(save_dir: Path) -> list[Path]:
    """Return the half-written, half-deleted and already replaced folders that a crash has left."""
    return [
        p
        for p in save_dir.glob(".*")
        if p.name.endswith((".tmp", ".deleted"))
        or ((replaced := _REPLACED.fullmatch(p.name)) and (save_dir / replaced[1]).exists())
    ]


def delete_checkpoint(folder: Path) -> None:
    """Delete a checkpoint; a crash half-way leaves it whole, or out of sight of a resume."""
    doomed = folder.with_name(f".{folder.name}.deleted")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _folders(save_dir: Path) -> list[Path]:
    if not save_dir.is_dir():
        return []
    return [
        p
        for p in save_dir.iterdir()
        if p.name == INTERRUPT or _EPOCH.fullmatch(p.name) or _REPLACED.fullmatch(p.name)
    ]


def _read_manifest(folder: Path) -> Checkpoint:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        version, step, epoch = manifest["format_version"], manifest["step"], manifest["epoch"]
        passes = manifest.get("passes", epoch)  # older ones count whole epochs
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path} is missing: {folder} is not a complete checkpoint") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}); delete {folder}") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format version {version}, but this program reads {FORMAT_VERSION}"
        )
    return Checkpoint(folder, step, epoch, passes, manifest)


def _sha256_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _git_revision() -> str | None:
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
