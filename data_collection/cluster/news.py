"""What nodes and queue tell each other, as JSON; durations add up over a node's whole life."""

from __future__ import annotations

from pydantic import NonNegativeFloat, NonNegativeInt

from trainer.schema import Strict


class Beat(Strict):
    """A teacher node's sign of life."""

    waited_s: NonNegativeFloat = 0.0
    """Without a job."""
    rendering_s: NonNegativeFloat = 0.0
    """Waiting for render nodes."""
    machine: str = ""
    """Ray's id of the machine that it runs on."""
    playing: tuple[str, ...] = ()
    """Ids of the jobs whose episodes run."""


class Told(Strict):
    """What a teacher node tells the queue, and asks of it."""

    beat: Beat
    held: list[str]
    """Ids of the jobs that it has."""
    reports: list[str]
    """Since it told the last time."""
    done: list[str]
    """Ids of the jobs that they end."""
    room: NonNegativeInt
    """How many jobs more it can hold."""
    wait_s: NonNegativeFloat
    """How long it would wait for the first of them."""


class Given(Strict):
    """What the queue answers a teacher node."""

    generation: str
    """Of the queue: another one has lost all reports."""
    jobs: list[str]
    closed: bool
    """Whether there will be no jobs any more."""


class TeacherNews(Strict):
    """What the queue knows of a teacher node."""

    silent_s: NonNegativeFloat
    """Since it was last heard of."""
    playing_s: NonNegativeFloat
    """Since it took the oldest job that it has, or reported the one before."""
    jobs: NonNegativeInt
    beat: Beat


class QueueNews(Strict):
    """What happened at the queue since the runner asked last."""

    generation: str
    """Of the queue: another one has lost all jobs."""
    reports: list[tuple[str, str]]
    """A node and its report."""
    nodes: dict[str, TeacherNews]


class RenderNews(Strict):
    """What a render node has done."""

    calls: NonNegativeInt
    pictures: NonNegativeInt
    busy_s: NonNegativeFloat
