"""What runner and teacher nodes tell each other: JSON that a schema checks, never objects or code.

Every text that comes over the network is parsed here and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import (
    BaseModel,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)

from data_collection.episodes import EpisodeRecord
from data_collection.player import Breakdown, Message, Outcome, Ready
from data_collection.schema import CollectConfig
from trainer.config import Loaded
from trainer.config_tree import Mark
from trainer.errors import CheckpointError, ConfigError, DataError, UserError
from trainer.rollout import RolloutJob
from trainer.schema import PlainValue, Strict

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_ERRORS = {kind.__name__: kind for kind in (ConfigError, DataError, CheckpointError, UserError)}

RolloutId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$")]
"""A file name, and never a path."""


class JobMessage(Strict):
    """One rollout to be played."""

    id: RolloutId
    seed: NonNegativeInt

    @classmethod
    def of(cls, job: RolloutJob) -> JobMessage:
        """Return the message about a job."""
        return cls(id=job.id, seed=job.seed)

    def to_job(self) -> RolloutJob:
        """Return the job."""
        return RolloutJob(self.id, self.seed)


class MarkMessage(Strict):
    """Where a value of the configuration was written, for messages about it."""

    path: list[str | int]
    source: str
    line: NonNegativeInt


class RoundOrder(Strict):
    """All that decides the episodes of a round, and where they are to go."""

    version: Literal[1] = 1
    config: dict[str, PlainValue]
    marks: list[MarkMessage]
    root: str
    """The project's folder on the runner's machine."""
    folder: str | None
    """Of the round, when the nodes see it; otherwise episodes go to the storage."""
    prefix: str
    """Of the round's files in the storage."""
    student: str | None
    """Where in the storage the student's checkpoint is."""
    renderers: list[str]
    """Names of the render nodes."""

    @classmethod
    def of(
        cls,
        loaded: Loaded[CollectConfig],
        *,
        folder: str | None,
        prefix: str,
        student: str | None,
        renderers: Sequence[str],
    ) -> RoundOrder:
        """Return the order for a round that was configured here."""
        marks = [
            MarkMessage(path=list(path), source=mark.source, line=mark.line)
            for path, mark in loaded.marks.items()
        ]
        config = loaded.config.model_dump(mode="json")
        return cls(
            config=config,
            marks=marks,
            root=str(loaded.root),
            folder=folder,
            prefix=prefix,
            student=student,
            renderers=list(renderers),
        )


class ReadyReport(Strict):
    """A node has built its environments and its teacher."""

    kind: Literal["ready"] = "ready"
    recorded: dict[str, PlainValue]
    longest: PositiveInt


class DoneReport(Strict):
    """A node has played a job; ``record`` is the line of the episode's manifest."""

    kind: Literal["done"] = "done"
    job: JobMessage
    record: str | None
    labelling_seconds: NonNegativeFloat


class BreakdownReport(Strict):
    """A job's rollout broke down; the node ends."""

    kind: Literal["breakdown"] = "breakdown"
    job: JobMessage
    reason: str


class ErrorReport(Strict):
    """Something that a user can mend; the node ends."""

    kind: Literal["error"] = "error"
    error: str
    message: str


Report = Annotated[
    ReadyReport | DoneReport | BreakdownReport | ErrorReport, Field(discriminator="kind")
]

_REPORTS: TypeAdapter[ReadyReport | DoneReport | BreakdownReport | ErrorReport] = TypeAdapter(
    Report
)


def parse(schema: type[M], text: str) -> M:
    """Return what a text says; raise UserError when the sender is of another version."""
    try:
        return schema.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise UserError(_not_understood(schema.__name__, error)) from error


def parse_any(what: str, schemas: TypeAdapter[T], text: str) -> T:
    """Return what a text says that follows one of several schemas; raise UserError likewise."""
    try:
        return schemas.validate_json(text, strict=True)
    except ValidationError as error:
        raise UserError(_not_understood(what, error)) from error


def to_report(message: Message) -> str:
    """Return a worker's message as JSON."""
    if isinstance(message, Ready):
        report = ReadyReport(recorded=message.recorded, longest=message.longest)  # type: ignore[arg-type]
    elif isinstance(message, Breakdown):
        report = BreakdownReport(job=JobMessage.of(message.job), reason=message.reason)
    elif isinstance(message, Outcome):
        report = DoneReport(
            job=JobMessage.of(message.job),
            record=message.record.to_line() if message.record else None,
            labelling_seconds=message.labelling_seconds,
        )
    else:
        kind = next(name for name, kind in _ERRORS.items() if isinstance(message, kind))
        report = ErrorReport(error=kind, message=str(message))
    return report.model_dump_json()


def from_report(text: str) -> Message:
    """Return the message that ``to_report`` wrote.

    Raises:
        UserError: It is none, or speaks of an episode that is not its job's.
    """
    report = parse_any("report", _REPORTS, text)
    if isinstance(report, ReadyReport):
        return Ready(dict(report.recorded), report.longest)
    if isinstance(report, BreakdownReport):
        return Breakdown(report.job.to_job(), report.reason)
    if isinstance(report, ErrorReport):
        return _ERRORS.get(report.error, UserError)(report.message)
    job, record = report.job.to_job(), _record(report.record)
    if record is not None and (record.id, record.attributes.seed) != (job.id, job.seed):
        raise UserError(f"a node reports episode {record.id} as the outcome of job {job.id}")
    return Outcome(job, record, labelling_seconds=report.labelling_seconds)


def loaded_of(order: RoundOrder) -> Loaded[CollectConfig]:
    """Return the configuration in an order, as this machine has it.

    Paths start from the runner's project, where this machine has that folder, too; otherwise from
    the project that this module is part of.
    """
    marks = {tuple(mark.path): Mark(mark.source, mark.line) for mark in order.marks}
    config = parse(CollectConfig, json.dumps(order.config))
    root = Path(order.root)
    root = root if root.is_dir() else Path(__file__).parents[2]
    return Loaded(config, dict(order.config), root, marks)


def _record(line: str | None) -> EpisodeRecord | None:
    if line is None:
        return None
    try:
        return EpisodeRecord.from_line(line)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"a node reports a malformed manifest line: {error!r}") from error


def _not_understood(what: str, error: ValidationError) -> str:
    problems = "; ".join(
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
    )
    return (
        f"a {what} on the cluster is not understood: {problems}; do all machines run the same "
        "version of this project?"
    )
