"""The one parent process's view of a round in the making: its manifest."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from data_collection.episodes.codec import decode, read_bytes
from data_collection.episodes.files import cannot_write, replace
from data_collection.episodes.manifest import (
    MANIFEST,
    EpisodeRecord,
    manifest_bytes,
    read_manifest,
)
from data_collection.episodes.schema import EpisodeError
from data_collection.episodes.writer import EPISODES, episode_path, refuse_sealed

CONFIG = "config.yaml"

_log = logging.getLogger(__name__)


class RoundWriter:
    """A round that is being collected. Exactly one process holds one; workers write episodes.

    Opening an existing round goes on where it was left: call ``adopt`` before collecting.

    Args:
        folder: The round's folder, made if it does not exist.
        config_yaml: The text of the configuration that decides the round.

    Raises:
        EpisodeError: The round is sealed, or was begun with another configuration.
    """

    def __init__(self, folder: Path, config_yaml: str) -> None:
        refuse_sealed(folder)
        (folder / EPISODES).mkdir(parents=True, exist_ok=True)
        config = folder / CONFIG
        if not config.exists():
            replace(config, config_yaml.encode())
        elif config.read_text() != config_yaml:
            raise EpisodeError(
                f"{config} differs from the configuration asked for now; "
                "choose another folder, or restore the configuration to go on"
            )
        self.folder = folder
        self._manifest = folder / MANIFEST
        self.records: dict[str, EpisodeRecord] = read_manifest(self._manifest, torn_end=True)
        """The entered episodes by id."""

    def enter(self, record: EpisodeRecord) -> None:
        """Append a written episode to the manifest; entering the same one twice is harmless.

        The line is not synced: the episode itself is durable, and ``adopt`` finds it again.

        Raises:
            EpisodeError: The round is sealed, or the id stands for another episode.
        """
        refuse_sealed(self.folder)
        known = self.records.get(record.id)
        if known == record:
            return
        if known is not None:
            raise EpisodeError(f"{self._manifest}: {record.id} is already another episode")
        try:
            with self._manifest.open("a") as file:
                file.write(record.to_line())
        except OSError as error:
            raise cannot_write(self._manifest, error) from error
        self.records[record.id] = record

    def adopt(self, seeds: Mapping[str, int] | None = None) -> list[EpisodeRecord]:
        """Return the whole episodes that were not listed, after entering them.

        Repairs what a killed collector left: a torn last line of the manifest and temporary files
        are removed, a damaged unlisted file is set aside as ``.damaged``. Call it only while no
        worker writes.

        Args:
            seeds: Of all episodes that belong into the round, by id: others are set aside, too.
        """
        refuse_sealed(self.folder)
        for stale in (self.folder / EPISODES).glob(".*.tmp"):
            stale.unlink()
        if self._manifest.exists():
            replace(self._manifest, manifest_bytes(self.records.values()))
        adopted = []
        for path in unlisted(self.folder, self.records):
            try:
                record = _record_of(path)
                if seeds is not None and seeds.get(record.id) != record.attributes.seed:
                    raise EpisodeError(
                        f"{path} has the seed {record.attributes.seed}: no episode of this round"
                    )
            except EpisodeError as error:
                path.replace(path.with_name(path.name + ".damaged"))
                _log.warning("%s; set aside as %s.damaged", error, path.name)
                continue
            self.enter(record)
            adopted.append(record)
        return adopted


def unlisted(folder: Path, records: dict[str, EpisodeRecord]) -> list[Path]:
    """Return the episode files that no record names, sorted."""
    listed = {episode_path(folder, rollout_id).name for rollout_id in records}
    with os.scandir(folder / EPISODES) as entries:
        names = {e.name for e in entries if e.name.endswith(".h5") and not e.name.startswith(".")}
    return [folder / EPISODES / name for name in sorted(names - listed)]


def _record_of(path: Path) -> EpisodeRecord:
    image = read_bytes(path)
    episode = decode(image, path)
    hashes = (episode.content_sha256, hashlib.sha256(image).hexdigest())
    return EpisodeRecord.of(path.stem, episode.arrays, episode.attributes, hashes, len(image))
