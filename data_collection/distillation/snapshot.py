"""What a checkpoint holds beside the student: history, environment, statistics; a file a rank."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainer.checkpoint import Checkpoint
from trainer.distributed import Ranks
from trainer.files import cannot_write, write_text_atomically

_log = logging.getLogger(__name__)

_PENDING = ".distillation.tmp"
"""Where files wait until they move into a checkpoint; what a crash leaves is cleared at start."""


class Part(Protocol):
    """Something that can be saved and restored."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that decides its future."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what ``state_dict`` returned."""
        ...


def write_snapshot(
    save_dir: Path, ranks: Ranks, parts: Mapping[str, Part], texts: Mapping[str, str]
) -> list[Path]:
    """Write this rank's file, and return what is to move into the checkpoint (on rank 0).

    Args:
        save_dir: The run's folder.
        ranks: Which rank this is; every rank must call this.
        parts: What is saved, by name.
        texts: Text files that go with it, by name.

    Raises:
        UserError: A file cannot be written.
    """
    folder = save_dir / _PENDING
    folder.mkdir(exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, part in parts.items():
        for key, value in part.state_dict().items():
            # Safetensors refuses tensors that share memory or have gaps.
            tensors[f"{name}/{key}"] = value.detach().cpu().contiguous()
    path = folder / _file(ranks.rank)
    try:
        save_file(_unshared(tensors), path)
    except (OSError, SafetensorError) as error:
        raise cannot_write(path, str(error)) from error
    ranks.gather_objects(None)  # rank 0 goes on when all have written
    if not ranks.is_main:
        return []
    for name, text in texts.items():
        write_text_atomically(folder / name, text)
    return sorted(folder.iterdir())


def clear_pending(save_dir: Path) -> None:
    """Remove the empty folder in which files waited."""
    shutil.rmtree(save_dir / _PENDING, ignore_errors=True)


def read_snapshot(checkpoint: Checkpoint, ranks: Ranks, parts: Mapping[str, Part]) -> None:
    """Restore this rank's parts, as far as they were saved; what is left as it is, is said.

    On another number of ranks than the checkpoint was saved on none is restored on any of them:
    ranks of unequal histories would not take equally many optimizer steps.
    """
    saved_on = len(list(checkpoint.folder.glob(_file("*"))))
    if saved_on != ranks.world_size:
        if ranks.is_main:
            _log.warning(
                "%s was saved on %d ranks and this run has %d: on all of them the history begins "
                "empty and the environments begin anew",
                checkpoint.folder,
                saved_on,
                ranks.world_size,
            )
        return
    found = load_file(checkpoint.folder / _file(ranks.rank))
    for name, part in parts.items():
        state = {
            k.removeprefix(f"{name}/"): v for k, v in found.items() if k.startswith(f"{name}/")
        }
        if state:
            part.load_state_dict(state)
        else:
            _log.warning(
                "%s holds no %s for rank %d: it begins anew, so the run does not go on with the "
                "same bits",
                checkpoint.folder,
                name,
                ranks.rank,
            )


def _file(rank: int | str) -> str:
    return f"distillation_rank_{rank}.safetensors"


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors, copied where two of them lie in the same memory."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return apart
