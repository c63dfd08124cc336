"""Figures as JSON lines: ``metrics.jsonl`` in the run's folder."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

from trainer.files import write_text_atomically, writing
from trainer.interfaces import Logger
from trainer.registry import loggers


@loggers.register("jsonl")
class JsonlLogger(Logger):
    """Appends one line a call; lines behind the step that a run resumes from are dropped."""

    def __init__(self, save_dir: Path, start_step: int | None) -> None:
        self.path = save_dir / "metrics.jsonl"
        if self.path.exists():
            text = self.path.read_text()
            lines = text.splitlines()
            last = float("inf") if start_step is None else start_step
            # From the end: before a change of the number of ranks steps were counted otherwise.
            dropped = itertools.takewhile(lambda line: not _step(line) <= last, reversed(lines))
            kept = lines[: len(lines) - len(list(dropped))]
            if len(kept) < len(lines) or not text.endswith("\n"):  # cut off just before it
                write_text_atomically(self.path, "".join(f"{line}\n" for line in kept))
        self._file = self.path.open("a")

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Append the figures as one line."""
        with writing(self.path):
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with writing(self.path):  # what could not be written before is tried again
            self._file.close()


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except ValueError:
        return float("nan")  # torn by a kill: it counts at no step
