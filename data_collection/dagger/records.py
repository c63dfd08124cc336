"""What a DAgger experiment remembers of its rounds: one small JSON file each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from data_collection.collect import Timing
from data_collection.episodes import SealedRound, open_round
from data_collection.episodes.schema import ACTION_VALID, ACTOR, EXPERT, LABEL_VALID
from trainer.checkpoint import Checkpoint
from trainer.evaluation import Evaluation
from trainer.files import write_text_atomically


@dataclass
class RoundRecord:
    """The figures of one round; paths are relative to the experiment's folder."""

    round: int
    data: str
    checkpoint: str
    driver: str | None
    """The student that drove; None where teachers did."""
    collected_successes: int
    collected_returns: list[float]
    """Of each episode of the round."""
    lengths: list[int]
    labels: int
    """Labelled states of the round."""
    expert_queries: int
    """Actions that the expert gave, as labels or to be executed; a label chunk is as many as it
    has steps."""
    actors: dict[str, float]
    """Each actor's share of the round's steps."""
    evaluation: Evaluation
    label_error: dict[str, float] | None
    """Root mean square of the driver's action minus the label, in action units, before it learnt
    from this round: on the states of phase I (``teacher``) and of this round (``student``)."""
    labelling_seconds: float
    """Spent by all workers together on label chunks."""
    seconds: dict[str, float]
    gradient_steps: int
    videos: list[str]
    set_aside: bool = False
    """Whether an earlier student drives on, because this one did worse."""

    @classmethod
    def of_round(
        cls,
        index: int,
        folder: Path,
        *,
        data: Path,
        driver: Checkpoint | None,
        checkpoint: Checkpoint,
        evaluation: Evaluation,
        label_error: dict[str, float] | None,
        videos: Sequence[Path],
        seconds: dict[str, float],
    ) -> RoundRecord:
        """Return the record of a finished round of the experiment in ``folder``."""
        sealed = open_round(data)
        lines = [sealed.manifest[name] for name in sealed.ids]
        frames = sum(line.length for line in lines)
        actors = {
            actor: sum(line.actors.get(actor, 0.0) * line.length for line in lines) / frames
            for actor in sorted({a for line in lines for a in line.actors})
        }
        labels, queries = _labels(sealed)
        return cls(
            round=index,
            data=str(data.relative_to(folder)),
            checkpoint=str(checkpoint.folder.relative_to(folder)),
            driver=str(driver.folder.relative_to(folder)) if driver else None,
            collected_successes=sum(line.attributes.success for line in lines),
            collected_returns=[line.total_reward for line in lines],
            lengths=[line.length for line in lines],
            labels=labels,
            expert_queries=queries,
            actors=actors,
            evaluation=evaluation,
            label_error=label_error,
            labelling_seconds=Timing.read(data).labelling_seconds,
            seconds=seconds,
            # A training that diverged has left the driver as the student: no step counts.
            gradient_steps=0 if checkpoint == driver else checkpoint.step,
            videos=[str(path.relative_to(folder)) for path in videos],
        )

    @property
    def frames(self) -> int:
        """Return the number of recorded steps."""
        return sum(self.lengths)

    @classmethod
    def read(cls, path: Path) -> RoundRecord:
        """Return the record in a file."""
        plain = json.loads(path.read_text())
        return cls(**plain | {"evaluation": Evaluation.from_plain(plain["evaluation"])})

    def to_json(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"


def best_round(records: Sequence[RoundRecord]) -> RoundRecord:
    """Return the first of the rounds with the most success, and of these with the best return."""
    return max(records, key=lambda r: (r.evaluation.success_rate, r.evaluation.mean_return))


def _labels(sealed: SealedRound) -> tuple[int, int]:
    """Return how many states have a label, and how many of the expert's actions the round took.

    A chunk takes as many as it has steps, the present state's own among them; an action that the
    expert executed without being recorded as a label is one, too.
    """
    labelled = sealed.read_rows(ACTION_VALID)
    labels, acted = int(labelled.sum()), sealed.read_rows(ACTOR) == EXPERT
    queries = labels + int((acted & ~labelled).sum())
    if LABEL_VALID in sealed.keys:
        valid = sealed.read_rows(LABEL_VALID)
        queries += int(valid.sum()) - len(valid)
    return labels, queries


class TimedSteps:
    """Seconds spent in each step of a round, over all starts of the runner that were not killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
        path.parent.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to ``name``."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin
            write_text_atomically(self._path, json.dumps(self.seconds))
