"""Joins the episode files of a sealed round into a few large shards.

A shard is the episode files end to end, unchanged, so that every hash stays valid and a packed
episode can be cut out again. ``round.json`` names the index, hence one rename switches from the
files to the shards; a kill before it leaves the old round, a kill after it the packed one.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace as with_changes
from pathlib import Path

import numpy as np

from data_collection.episodes.codec import read_bytes
from data_collection.episodes.files import cannot_write, replace, sync
from data_collection.episodes.reader import SealedRound, open_round, read_round_file
from data_collection.episodes.schema import EpisodeError
from data_collection.episodes.seal import INDEX, write_round_file
from data_collection.episodes.verify import verify_round
from data_collection.episodes.writer import episode_path

PACKED_INDEX = "index_packed.npz"
SHARDS = "shards"
_ALIGNMENT = 4096
"""Episodes start on a page, so that maps and unbuffered reads of them need no shift."""


def pack(folder: Path, *, shard_bytes: int = 1 << 30) -> int:
    """Return the number of shards, after replacing the episode files by them.

    The kernel allows some 65,000 maps a process; a round with more episodes must be packed to be
    mapped. Packing a packed round only removes what an interrupted packing left.

    Raises:
        EpisodeError: The round is not sealed, an episode does not match its hash, or the disk is
            full; then the round is as it was.
    """
    sealed = open_round(folder)
    content = read_round_file(folder)
    if content.index != PACKED_INDEX:
        if problems := verify_round(folder):  # what is damaged must not get a new hash
            raise EpisodeError("; ".join(problems))
        (folder / SHARDS).mkdir(exist_ok=True)
        shard_of, starts = _places(sealed.index.sizes, shard_bytes)
        names = tuple(f"{SHARDS}/shard_{n:04d}.bin" for n in range(int(shard_of[-1]) + 1))
        for number, name in enumerate(names):
            _write_shard(sealed, np.flatnonzero(shard_of == number), starts, folder / name)
        sync(folder / SHARDS)
        index = with_changes(sealed.index, files=names, file_of=shard_of, starts=starts)
        replace(folder / PACKED_INDEX, index.to_bytes())
        write_round_file(folder, PACKED_INDEX, content.episodes)
        sealed = open_round(folder)
    (folder / INDEX).unlink(missing_ok=True)
    for rollout_id in sealed.ids:
        episode_path(folder, rollout_id).unlink(missing_ok=True)
    return len(sealed.index.files)


def _places(sizes: np.ndarray, shard_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each episode's shard and start; only a larger episode exceeds ``shard_bytes``."""
    shard_of, starts = np.zeros_like(sizes), np.zeros_like(sizes)
    shard = end = 0
    for episode, size in enumerate(sizes.tolist()):
        start = -(-end // _ALIGNMENT) * _ALIGNMENT
        if start and start + size > shard_bytes:
            shard, start = shard + 1, 0
        shard_of[episode], starts[episode] = shard, start
        end = start + size
    return shard_of, starts


def _write_shard(sealed: SealedRound, episodes: np.ndarray, starts: np.ndarray, path: Path) -> None:
    try:
        with path.open("wb") as shard:
            for episode in episodes:
                source = sealed.file(episode)
                image = read_bytes(source)
                expected = sealed.manifest[sealed.ids[episode]].file_sha256
                if hashlib.sha256(image).hexdigest() != expected:
                    raise EpisodeError(f"{source}: does not match its hash; nothing was packed")
                shard.seek(int(starts[episode]))
                shard.write(image)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise cannot_write(path, error) from error
    sync(path)
