"""The manifest of a round: one JSON line an episode, written by the one parent process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from data_collection.episodes.codec import EpisodeAttributes
from data_collection.episodes.schema import ACTOR, ACTOR_NAMES, REWARD, EpisodeError
from data_collection.episodes.survey import Survey

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """One line of the manifest. ``actors`` is each actor's share of the steps."""

    id: str
    length: int
    total_reward: float
    bytes: int
    content_sha256: str
    file_sha256: str
    actors: dict[str, float]
    attributes: EpisodeAttributes
    survey: Survey | None = field(default=None, compare=False, repr=False)
    """Known to whoever wrote the episode; it is not part of the manifest."""

    @classmethod
    def of(
        cls,
        rollout_id: str,
        arrays: Mapping[str, np.ndarray],
        attributes: EpisodeAttributes,
        hashes: tuple[str, str],
        size: int,
        survey: Survey | None = None,
    ) -> EpisodeRecord:
        """Return the record of an episode; ``hashes`` are those of its content and its file."""
        steps = len(arrays[ACTOR])
        counts = np.bincount(arrays[ACTOR], minlength=len(ACTOR_NAMES))
        return cls(
            id=rollout_id,
            length=steps,
            total_reward=float(arrays[REWARD].astype(np.float64).sum()),
            bytes=size,
            content_sha256=hashes[0],
            file_sha256=hashes[1],
            actors={n: float(c / steps) for n, c in zip(ACTOR_NAMES, counts, strict=True)},
            attributes=attributes,
            survey=survey,
        )

    def to_line(self) -> str:
        """Return the manifest line, newline included."""
        values = asdict(replace(self, survey=None))
        del values["survey"]
        values |= values.pop("attributes")
        values["return"] = values.pop("total_reward")
        return json.dumps(values, sort_keys=True) + "\n"

    @classmethod
    def from_line(cls, line: str) -> EpisodeRecord:
        """Return the record of a line; raise ValueError, KeyError or TypeError if malformed."""
        values = json.loads(line)
        values["total_reward"] = values.pop("return")
        names = EpisodeAttributes.__dataclass_fields__.keys()
        known = names & values.keys()  # an older manifest may say less
        attributes = EpisodeAttributes(**{name: values.pop(name) for name in known})
        return cls(**values, attributes=attributes)


def read_manifest(path: Path, *, torn_end: bool = False) -> dict[str, EpisodeRecord]:
    """Return the records by id, in file order; a missing file holds none.

    Args:
        path: The manifest.
        torn_end: Ignore a last line without a newline, as a killed writer leaves it.

    Raises:
        EpisodeError: A line is malformed, or one id stands for two different episodes.
    """
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    if torn_end and lines and not lines[-1].endswith("\n"):
        lines.pop()
    records: dict[str, EpisodeRecord] = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = EpisodeRecord.from_line(line)
        except (ValueError, KeyError, TypeError) as error:
            raise EpisodeError(f"{path}:{number}: malformed manifest line: {error!r}") from error
        if records.setdefault(record.id, record) != record:
            raise EpisodeError(f"{path}:{number}: {record.id} is listed twice with other contents")
    return records


def manifest_bytes(records: Iterable[EpisodeRecord]) -> bytes:
    """Return a whole manifest, sorted by id."""
    return "".join(r.to_line() for r in sorted(records, key=lambda r: r.id)).encode()
