"""The trainer node: an actor on the training host that runs torchrun and streams what it says."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, cast

import ray
from pydantic import Field, PositiveInt, TypeAdapter
from ray.actor import ActorHandle
from ray.exceptions import RayActorError

from data_collection.backend import torchrun
from data_collection.cluster.actors import start_node, text_of
from data_collection.cluster.messages import parse, parse_any
from data_collection.cluster.processes import end_with_parent
from data_collection.training_folder import folder_of, free_folder
from trainer.checkpoint import newest_checkpoint, open_checkpoint
from trainer.errors import UserError
from trainer.schema import Strict

_log = logging.getLogger(__name__)

TRAINER = "trainer"
"""The resource of the machine that trains."""

_METRICS = "metrics.jsonl"
_THREADS = "OMP_NUM_THREADS"
_ATTEMPTS = 3
_REPORT_EVERY_S = 30.0


class TrainingOrder(Strict):
    """A training job: the YAML decides everything but the number of processes."""

    version: Literal[1] = 1
    config: str
    """Path of the YAML, which the training host sees."""
    ranks: PositiveInt
    threads: str | None
    """The runner's ``OMP_NUM_THREADS``, so that results are those of training there."""


class LineNews(Strict):
    """The trainer has printed a line."""

    kind: Literal["line"] = "line"
    text: str


class MetricsNews(Strict):
    """The trainer has logged figures: a line of its ``metrics.jsonl``."""

    kind: Literal["metrics"] = "metrics"
    json_line: str


class DoneNews(Strict):
    """Training has ended: with a checkpoint, or with what went wrong."""

    kind: Literal["done"] = "done"
    exit_code: int
    problem: str | None = None
    """What kept the trainer from starting."""
    checkpoint: str | None = None
    weights_sha256: str | None = None


TrainingNews = Annotated[LineNews | MetricsNews | DoneNews, Field(discriminator="kind")]
_NEWS: TypeAdapter[LineNews | MetricsNews | DoneNews] = TypeAdapter(TrainingNews)


class TrainerNode:
    """Runs one training job at a time."""

    def train(self, order: str) -> Iterator[str]:
        """Yield ``TrainingNews`` as JSON until the job has ended."""
        try:
            job = parse(TrainingOrder, order)
            save_dir = _save_dir(Path(job.config))
        except UserError as error:
            yield DoneNews(exit_code=2, problem=str(error)).model_dump_json()
            return
        for line in free_folder(save_dir):  # a node that died leaves a trainer that saves, and ends
            yield LineNews(text=line).model_dump_json()
        metrics = _Tail(save_dir / _METRICS)
        with _started(job) as process:
            for line in process.stdout or ():
                yield LineNews(text=line.rstrip()).model_dump_json()
                yield from metrics.news()
        yield from metrics.news()
        newest = newest_checkpoint(save_dir) if process.returncode == 0 else None
        yield DoneNews(
            exit_code=process.returncode,
            checkpoint=str(newest.folder) if newest else None,
            weights_sha256=open_checkpoint(newest.folder).weights_sha256 if newest else None,
        ).model_dump_json()


def _save_dir(config: Path) -> Path:
    """Return where a training job's checkpoints go; raise UserError when it cannot run here."""
    if not config.is_file():
        raise UserError(
            f"{config}: the trainer node does not see this file; start it on the runner's machine, "
            "or share the experiment's folder"
        )
    return folder_of(config)


def _started(job: TrainingOrder) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != _THREADS}
    if job.threads is not None:
        environment[_THREADS] = job.threads
    return subprocess.Popen(
        torchrun(job.ranks, ["--train_config", job.config]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        preexec_fn=end_with_parent,
    )


class _Tail:
    """The lines that a file gets."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0

    def news(self) -> Iterator[str]:
        """Yield ``MetricsNews`` for the whole lines that have come since the last call."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            # A trainer that goes on from a checkpoint drops what it had written after that.
            file.seek(min(self._position, self._path.stat().st_size))
            whole, _, torn = file.read().rpartition(b"\n")
            self._position = file.tell() - len(torn)
        for line in whole.decode().splitlines():
            yield MetricsNews(json_line=line).model_dump_json()


def train_on_cluster(config: Path, ranks: int) -> None:
    """Have the trainer node train the experiment in a YAML, or go on with it.

    Raises:
        UserError: There is no trainer node, it dies again and again, the trainer fails, or its
            checkpoint is not the one that lies here.
    """
    order = TrainingOrder(
        config=str(config.absolute()), ranks=ranks, threads=os.environ.get(_THREADS)
    )
    for attempt in range(_ATTEMPTS):
        # Looked up each time: a node that no machine can hold would be waited for without end.
        node = start_node(TrainerNode, TRAINER, gpus=min(ranks, _gpus_of_trainer()))
        try:
            _wait_until_there(node)
            done = _follow(node, order)
        except RayActorError as error:
            _log.warning("the trainer node is lost (attempt %d): %s", attempt + 1, error)
            continue
        finally:
            ray.kill(node)
        _check(config, done)
        return
    raise UserError(f"training of {config}: the trainer node died {_ATTEMPTS} times")


def _gpus_of_trainer() -> int:
    """Return the GPUs of the machine that trains."""
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get(TRAINER):
            return int(node["Resources"].get("GPU", 0))
    raise UserError(
        f"the cluster has no trainer node: no machine offers the resource {TRAINER!r}; start one "
        "on this machine with python -m data_collection.cluster.launch --trainer"
    )


def _wait_until_there(node: ActorHandle) -> None:
    """Wait for a node for which there may be no room yet, and say so every so often."""
    there = node.__ray_ready__.remote()
    while not ray.wait([there], timeout=_REPORT_EVERY_S)[0]:
        _gpus_of_trainer()  # there is no trainer's machine any more: raises
        _log.info("waiting for the trainer node: another runner uses it, or its machine is silent")


def _follow(node: ActorHandle, order: TrainingOrder) -> DoneNews:
    """Log what the trainer says until it has ended; return how it ended."""
    stream = node.train.options(num_returns="streaming").remote(order.model_dump_json())
    for piece in cast(Iterator[ray.ObjectRef], stream):
        news = parse_any("piece of news", _NEWS, text_of(piece))
        if isinstance(news, DoneNews):
            return news
        if isinstance(news, LineNews):
            _log.info("trainer: %s", news.text)
        else:
            _log.info("trainer: %s", _figures(news.json_line))
    raise UserError("the trainer node ended without a word")


def _figures(json_line: str) -> str:
    values: dict[str, float] = json.loads(json_line)
    return ", ".join(f"{name} {value:.6g}" for name, value in values.items())


def _check(config: Path, done: DoneNews) -> None:
    if done.problem is not None:
        raise UserError(done.problem)
    if done.exit_code or done.checkpoint is None:
        raise UserError(f"training of {config} ended with exit code {done.exit_code}: see above")
    here = open_checkpoint(Path(done.checkpoint)).weights_sha256
    if here != done.weights_sha256:
        raise UserError(
            f"{done.checkpoint} has weights {here[:12]}…, the trainer node reports "
            f"{str(done.weights_sha256)[:12]}…; do both machines share this folder?"
        )
