"""One round's files in the storage, seen from the runner's machine."""

from __future__ import annotations

import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from data_collection.cluster.storage import Storage
from data_collection.episodes import EpisodeRecord
from data_collection.episodes.writer import EPISODES, episode_path
from data_collection.schema import CollectConfig
from trainer.errors import UserError
from trainer.files import write_text_atomically

_KEY = ".storage"
"""File of a round's folder: under which name its episodes are in the storage."""


class RoundStorage:
    """Brings a round's episodes to the runner's machine, and its student to the storage.

    Without a storage the nodes write where the runner reads, and there is nothing to bring.

    Args:
        config: The round's configuration.
        folder: Of the round.
    """

    def __init__(self, config: CollectConfig, folder: Path) -> None:
        url = config.cluster.storage
        self._storage = Storage(url) if url else None
        self._folder = folder
        self._copiers = ThreadPoolExecutor(config.cluster.transfers, "episode-copy")
        self.prefix = self._claim_prefix() if url else folder.name
        """Under which name the storage has the round, the same at every start of it."""

    @property
    def shared_folder(self) -> str | None:
        """The round's folder, if nodes write there."""
        return None if self._storage else str(self._folder.absolute())

    def bring(self, record: EpisodeRecord) -> Future[None]:
        """Return a future that is done when a written episode is here, and is what was written.

        Its result raises UserError when the episode is not here, DataError when it is damaged.
        """
        path = episode_path(self._folder, record.id)
        if self._storage is not None:
            return self._copy(path, record.file_sha256)
        arrived: Future[None] = Future()
        if path.is_file() and path.stat().st_size == record.bytes:
            arrived.set_result(None)
        else:
            arrived.set_exception(_not_shared(path))
        return arrived

    def bring_strays(self) -> None:
        """Bring what the storage has and this machine has not: a runner was killed before it could.

        Whoever opens the round checks these episodes before they are entered.
        """
        if self._storage is None:
            return
        names = self._storage.sizes(f"{self.prefix}/{EPISODES}")
        paths = [episode_path(self._folder, Path(name).stem) for name in names]
        for copy in [self._copy(path, None) for path in paths if not path.exists()]:
            copy.result()

    def put_student(self, checkpoint: Path) -> str | None:
        """Return where the storage has a student's checkpoint, having brought it there."""
        if self._storage is None:
            return None
        from data_collection.cluster.checkpoint_copy import put_checkpoint  # needs torch
        from trainer.checkpoint import resolve_checkpoint

        return put_checkpoint(self._storage, resolve_checkpoint(checkpoint))

    def close(self) -> None:
        """Stop copying, and remove what was copied in part."""
        self._copiers.shutdown(cancel_futures=True)
        for part in (self._folder / EPISODES).glob(".*.part"):
            part.unlink()

    def _copy(self, path: Path, sha256: str | None) -> Future[None]:
        if self._storage is None:
            raise ValueError("there is no storage to copy from")
        path.parent.mkdir(parents=True, exist_ok=True)
        key = f"{self.prefix}/{EPISODES}/{path.name}"
        return self._copiers.submit(self._storage.get, key, path, sha256)

    def _claim_prefix(self) -> str:
        """Return the round's name; one that is begun afresh gets another, and no old episodes."""
        path = self._folder / _KEY
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomically(path, f"{self._folder.name}-{secrets.token_hex(8)}\n")
        return path.read_text().strip()


def _not_shared(path: Path) -> UserError:
    return UserError(
        f"{path}: a teacher node has written this episode, but it is not here; give "
        "cluster.storage, or a folder that all machines share under the same path"
    )
