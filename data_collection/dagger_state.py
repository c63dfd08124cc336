"""What a DAgger experiment remembers of its rounds: one small JSON file each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from data_collection.episodes import open_round
from trainer.checkpoint import Checkpoint
from trainer.evaluate import Evaluation
from trainer.files import write_text_atomically


@dataclass
class RoundRecord:
    """The figures of one round; paths are relative to the experiment's folder."""

    round: int
    data: str
    checkpoint: str
    driver: str | None
    episodes: int
    frames: int
    collected_success: float
    collected_return: float
    success_rate: float
    success_interval: tuple[float, float]
    mean_return: float
    std_return: float
    evaluation_episodes: int
    lengths: list[int]
    actors: dict[str, float]
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
        data: Path,
        checkpoint: Checkpoint,
        evaluation: Evaluation,
        videos: Sequence[Path],
        seconds: dict[str, float],
        driver: Checkpoint | None,
    ) -> RoundRecord:
        """Return the record of a finished round of the experiment in ``folder``."""
        sealed = open_round(data)
        lines = [sealed.manifest[name] for name in sealed.ids]
        frames = sum(line.length for line in lines)
        actors = {
            actor: sum(line.actors.get(actor, 0.0) * line.length for line in lines) / frames
            for actor in sorted({a for line in lines for a in line.actors})
        }
        return cls(
            round=index,
            data=str(data.relative_to(folder)),
            checkpoint=str(checkpoint.folder.relative_to(folder)),
            driver=str(driver.folder.relative_to(folder)) if driver else None,
            episodes=len(lines),
            frames=frames,
            collected_success=sum(line.attributes.success for line in lines) / len(lines),
            collected_return=sum(line.total_reward for line in lines) / len(lines),
            success_rate=evaluation.success_rate,
            success_interval=evaluation.success_interval,
            mean_return=evaluation.mean_return,
            std_return=evaluation.std_return,
            evaluation_episodes=evaluation.episodes,
            lengths=[line.length for line in lines],
            actors=actors,
            seconds=seconds,
            gradient_steps=checkpoint.step,
            videos=[str(path.relative_to(folder)) for path in videos],
        )

    @classmethod
    def read(cls, path: Path) -> RoundRecord:
        """Return the record in a file."""
        plain = json.loads(path.read_text())
        return cls(**plain | {"success_interval": tuple(plain["success_interval"])})

    def to_json(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"

    def return_error(self) -> float:
        """Return the standard error of the mean return."""
        return self.std_return / max(1, self.evaluation_episodes) ** 0.5


class TimedSteps:
    """Seconds spent in each step of a round, over all starts of the runner."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to ``name``."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(self._path, json.dumps(self.seconds))
