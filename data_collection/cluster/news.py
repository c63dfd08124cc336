"""What is known of nodes, as JSON; durations add up over a node's whole life."""

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
