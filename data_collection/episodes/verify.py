"""Checks every byte of a sealed round against its hashes."""

from __future__ import annotations

from pathlib import Path

from data_collection.episodes.files import canonical_json, sha256, sha256_range
from data_collection.episodes.reader import SealedRound, open_round, read_round_file
from data_collection.episodes.schema import FORMAT_VERSION, EpisodeError
from data_collection.episodes.writer import ROUND_FILE


def verify_round(folder: Path) -> list[str]:
    """Return what is damaged, one line a file or episode; empty when every hash matches."""
    try:
        content = read_round_file(folder)
        expected = canonical_json({"format_version": FORMAT_VERSION, **vars(content)})
        if (folder / ROUND_FILE).read_bytes() != expected:
            return [f"{folder / ROUND_FILE}: damaged: not as it was written"]
        damage = [
            f"{folder / name}: does not match its hash in {ROUND_FILE}"
            for name, digest in content.sha256.items()
            if not (folder / name).is_file() or sha256(folder / name) != digest
        ]
        if damage:  # what to compare the episodes with is itself in doubt
            return damage
        return _damaged_episodes(open_round(folder), content.episodes)
    except EpisodeError as error:
        return [str(error)]


def _damaged_episodes(sealed: SealedRound, episodes: dict[str, str]) -> list[str]:
    listed = {record.id: record.content_sha256 for record in sealed.manifest.values()}
    if listed != episodes:
        return [f"{sealed.folder / ROUND_FILE}: its episodes are not those of the manifest"]
    damage = []
    index = sealed.index
    for number, rollout_id in enumerate(sealed.ids):
        path = sealed.file(number)
        found = sha256_range(path, int(index.starts[number]), int(index.sizes[number]))
        if found != sealed.manifest[rollout_id].file_sha256:
            damage.append(f"{path}: episode {rollout_id} does not match its hash")
    return damage
