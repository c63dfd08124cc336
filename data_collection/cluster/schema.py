"""The ``cluster`` section of a YAML: how a Ray cluster makes the rounds. Needs no Ray."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from trainer.schema import Strict


class RenderConfig(Strict):
    """How render nodes put the requests of several teacher nodes together."""

    max_batch: PositiveInt = 8
    """Pictures that are generated at once."""
    max_wait_s: NonNegativeFloat = 0.02
    """How long the first request of a batch waits for others."""
    timeout_s: PositiveFloat = 300.0
    """A teacher node that gets no answer for so long asks another render node; when none of them
    answers any more, it generates pictures itself."""
    gpus: NonNegativeFloat = 0.0
    """What a render node takes of its machine's GPUs."""


class ClusterConfig(Strict):
    """Execution on a cluster; none of it changes an episode."""

    teacher_queue_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "teacher_queue"
    """Of the runner's queue; runners that share a cluster need different ones."""
    storage: str | None = None
    """Where teacher nodes write episodes: an fsspec URL such as ``s3://bucket/rounds`` or
    ``sftp://user@host/rounds``. None: straight into the round's folder, which every node then
    sees under the same path."""
    transfers: PositiveInt = 4
    """Episodes that are brought from the storage at the same time."""
    heartbeat_s: PositiveFloat = 1.0
    heartbeat_timeout_s: PositiveFloat = 30.0
    """A node that has been silent for so long is replaced, and so is one that plays one rollout
    for longer than ``job_timeout_s``."""
    job_timeout_s: PositiveFloat = 1800.0
    start_timeout_s: PositiveFloat = 300.0
    """A teacher node that takes longer to build its environments is replaced; a render node that
    takes longer to build its generator is left out."""
    report_every_s: PositiveFloat = 30.0
    """Seconds between lines about the nodes' speed."""
    render: RenderConfig = RenderConfig()

    @field_validator("storage")
    @classmethod
    def _holds_no_secrets(cls, url: str | None) -> str | None:
        # Before anything is written down, and without telling the value.
        protocol, found, rest = (url or "").partition("://")
        if not found:
            return url
        if "::" in protocol or "://" in rest:
            raise ValueError("chained URLs (with ::) are not supported; name one storage")
        user, _, _ = rest.rpartition("@")
        if ":" in user or "?" in rest:
            name = "AWS_SECRET_ACCESS_KEY" if protocol == "s3" else f"FSSPEC_{protocol.upper()}_…"
            raise ValueError(
                "this URL comes with secrets or options; leave them out and set them in the "
                f"environment of every machine, for instance {name}"
            )
        return url

    @model_validator(mode="after")
    def _beats_before_the_timeout(self) -> ClusterConfig:
        if self.heartbeat_timeout_s < 3 * self.heartbeat_s:
            raise ValueError("heartbeat_timeout_s must be at least three times heartbeat_s")
        return self
