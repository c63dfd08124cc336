"""An episode as the bytes of one HDF5 file: the same episode always gives the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import h5py
import numpy as np

from data_collection.episodes.index import Extent
from data_collection.episodes.layout import Pieces, Rows, lay_out
from data_collection.episodes.schema import (
    FORMAT_VERSION,
    GENERATED_IMAGE_PREFIX,
    IMAGE_PREFIX,
    IS_BASELINE,
    VALID_PREFIX,
    EpisodeError,
    batch_key,
    check_arrays,
)

_HEADER = "episode"


@dataclass(frozen=True, slots=True)
class EpisodeAttributes:
    """What an episode is besides its arrays; nothing here may depend on clock, host or path."""

    seed: int
    success: bool
    phase: str | None = None
    round: int | None = None
    teacher_checkpoint: str | None = None
    student_checkpoint: str | None = None
    driver_checkpoint: str | None = None
    """Of a weaker teacher that drove."""
    prompt: str | None = None


@dataclass(frozen=True)
class Episode:
    """A decoded episode file."""

    arrays: dict[str, np.ndarray]
    attributes: EpisodeAttributes
    content_sha256: str


def content_sha256(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the hash of keys, dtypes, shapes and bytes, independent of how they are stored."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        digest.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class EncodedEpisode:
    """An episode file's bytes, where the arrays lie in it, and the hash of its content.

    The pieces look into the arrays, so these must not change while the pieces are in use.
    """

    pieces: Pieces
    extents: dict[str, Extent]
    content_sha256: str


def encode(
    rollout_id: str, arrays: Mapping[str, np.ndarray], attributes: EpisodeAttributes
) -> EncodedEpisode:
    """Return the episode as the HDF5 file that ``decode`` takes.

    Raises:
        EpisodeError: The arrays are not what the format allows.
    """
    check_arrays(rollout_id, arrays)
    content_hash = content_sha256(arrays)
    header = {
        "format_version": FORMAT_VERSION,
        "content_sha256": content_hash,
        "attributes": asdict(attributes),
    }
    text = json.dumps(header, sort_keys=True).encode()
    pieces, extents = lay_out(arrays, {_HEADER: text}, _generated_pictures(arrays))
    return EncodedEpisode(pieces, extents, content_hash)


def _generated_pictures(arrays: Mapping[str, np.ndarray]) -> dict[str, Rows]:
    """Return what shows the pictures that were generated, not warped, under their own keys."""
    cameras = [key.removeprefix(VALID_PREFIX) for key in arrays if key.startswith(VALID_PREFIX)]
    return {
        GENERATED_IMAGE_PREFIX + name: Rows(
            IMAGE_PREFIX + name, np.flatnonzero(arrays[IS_BASELINE]).tolist()
        )
        for name in cameras
        if IMAGE_PREFIX + name in arrays  # JPEG frames have no rows
    }


def decode(image: bytes, where: Path) -> Episode:
    """Return the episode in ``image``; raise EpisodeError naming ``where`` when it is damaged."""
    try:
        with h5py.File(io.BytesIO(image), "r") as file:
            header = json.loads(cast(bytes, file.attrs[_HEADER]))
            version = header["format_version"]
            if version != FORMAT_VERSION:
                raise EpisodeError(
                    f"{where}: format_version {version}, expected {FORMAT_VERSION}; "
                    "read it with the version of this program that wrote it"
                )
            attributes = EpisodeAttributes(**header["attributes"])
            recorded = header["content_sha256"]
            arrays = {key: dataset[...] for key, dataset in _datasets(file).items()}
    # h5py reports damage with many types, and a flipped bit may reach any of them.
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise EpisodeError(f"{where}: truncated or damaged episode file: {error}") from error
    if content_sha256(arrays) != recorded:
        raise EpisodeError(
            f"{where}: damaged episode file: its arrays do not match their content hash"
        )
    return Episode(arrays, attributes, recorded)


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the datasets of an open episode file by batch key, sorted."""
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and not item.is_virtual:
            found[batch_key(name)] = item

    file.visititems(visit)
    return dict(sorted(found.items()))


def load_episode(path: Path) -> Episode:
    """Return the episode in a file, its content checked; raise EpisodeError naming the path."""
    return decode(read_bytes(path), path)


def read_episode(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an episode file by batch key; JPEG keys stay ``.data``/``.offsets``.

    Raises:
        EpisodeError: The file is missing, truncated, or does not match its content hash.
    """
    return load_episode(path).arrays


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; raise EpisodeError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise EpisodeError(f"{path}: cannot be read: {error.strerror}") from error
