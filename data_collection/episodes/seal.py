"""Seals a finished round: statistics, index, and ``round.json`` last, which makes it readable."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_collection.episodes.feature_statistics import merge_all
from data_collection.episodes.files import canonical_json, replace, sha256
from data_collection.episodes.index import Extent, Index, stack_extents
from data_collection.episodes.manifest import (
    MANIFEST,
    EpisodeRecord,
    manifest_bytes,
    read_manifest,
)
from data_collection.episodes.round_writer import CONFIG, unlisted
from data_collection.episodes.schema import (
    ACTION,
    FORMAT_VERSION,
    STATE,
    EpisodeError,
)
from data_collection.episodes.survey import Survey
from data_collection.episodes.writer import EPISODES, ROUND_FILE, episode_path, is_sealed

INDEX = "index.npz"
STATISTICS = "statistics.json"


def seal(folder: Path, written: Mapping[str, EpisodeRecord] | None = None) -> None:
    """Finish a round: from here on it is readable and no longer changes.

    Sealing a sealed round does nothing. The bytes written depend on the episodes alone, not on
    the order in which they were collected.

    Args:
        folder: The round.
        written: Records by id, as writers return them: these episodes need not be opened again.

    Raises:
        EpisodeError: There is no episode, an episode is missing, damaged, not listed in the
            manifest, or has other keys, dtypes or row shapes than the first.
    """
    if is_sealed(folder):
        return
    records = _sorted_records(folder)
    surveys = [_survey(folder, (written or {}).get(record.id, record)) for record in records]
    extents = [survey.extents for survey in surveys]
    for record, found in zip(records, extents, strict=True):
        _check_same(folder, record.id, found, records[0].id, extents[0])
    statistics = {
        key: merge_all([survey.statistics[key] for survey in surveys]) for key in (STATE, ACTION)
    }
    index = Index(
        files=tuple(f"{EPISODES}/{record.id}.h5" for record in records),
        file_of=np.arange(len(records)),
        starts=np.zeros(len(records), dtype=np.int64),
        sizes=np.array([record.bytes for record in records], dtype=np.int64),
        lengths=np.array([record.length for record in records], dtype=np.int64),
        extents=stack_extents(extents),
    )
    replace(folder / MANIFEST, manifest_bytes(records))
    plain = {key: value.to_json() for key, value in statistics.items()}
    replace(folder / STATISTICS, canonical_json(plain))
    replace(folder / INDEX, index.to_bytes())
    write_round_file(folder, INDEX, {record.id: record.content_sha256 for record in records})


def write_round_file(folder: Path, index_name: str, episodes: dict[str, str]) -> None:
    """Put ``round.json`` in place: version, name of the index, episode ids and all hashes."""
    names = (CONFIG, MANIFEST, STATISTICS, index_name)
    content = {
        "format_version": FORMAT_VERSION,
        "index": index_name,
        "sha256": {name: sha256(folder / name) for name in names},
        "episodes": episodes,
    }
    replace(folder / ROUND_FILE, canonical_json(content))


def _sorted_records(folder: Path) -> list[EpisodeRecord]:
    records = read_manifest(folder / MANIFEST)
    if not records:
        raise EpisodeError(f"{folder} holds no episodes; collect some before sealing it")
    strays = unlisted(folder, records)
    if strays:
        raise EpisodeError(
            f"{folder / MANIFEST} lacks {len(strays)} episodes, the first {strays[0].name}; "
            "adopt them before sealing"
        )
    return sorted(records.values(), key=lambda record: record.id)


def _survey(folder: Path, record: EpisodeRecord) -> Survey:
    path = episode_path(folder, record.id)
    if not path.is_file() or path.stat().st_size != record.bytes:
        raise EpisodeError(f"{path}: missing or truncated; the manifest says {record.bytes} bytes")
    return record.survey or Survey.read(path)


def _check_same(
    folder: Path,
    rollout_id: str,
    found: dict[str, Extent],
    first_id: str,
    first: dict[str, Extent],
) -> None:
    for key in sorted(found.keys() | first.keys()):
        got, expected = found.get(key), first.get(key)
        if (
            got is None
            or expected is None
            or (got.dtype, got.shape[1:]) != (expected.dtype, expected.shape[1:])
        ):
            raise EpisodeError(
                f"{episode_path(folder, rollout_id)}: {key} is {_describe(got)}, but "
                f"{_describe(expected)} in {first_id}; all episodes of a round must agree"
            )


def _describe(extent: Extent | None) -> str:
    return "absent" if extent is None else f"{extent.dtype} rows of shape {extent.shape[1:]}"
