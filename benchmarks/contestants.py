"""Contestants: processes, each in the environment of its own library, that measure when asked.

They all live at once and take turns. ``Contestant`` is the benchmark's side, ``serve`` the
contestants' own. Needs numpy alone, so that the peers' environments run it too.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

from synthetic import Content

HERE = Path(__file__).parent
PEERS = HERE.parent / ".peers"
"""An environment for each peer, as peers/install.sh makes them."""

ANSWERS = "BENCHMARK_ANSWERS"
"""Environment variable: the file descriptor for answers."""

Epoch = Callable[[], Iterator[int]]
"""Returns an iterator over one shuffled epoch, which yields each batch's number of samples."""


class ContestantError(Exception):
    """A contestant ended before it answered; the message holds what it printed last."""

    @property
    def reason(self) -> str:
        """Return the last line that speaks of an error."""
        lines = str(self).splitlines()
        return next((line for line in reversed(lines) if "Error" in line), lines[-1])


class Assignment(Protocol):
    """What a contestant is told on its command line."""

    def to_argument(self) -> str:
        """Return all of it as JSON."""
        ...


@dataclass(frozen=True)
class Task:
    """What a contestant is to do with made-up content."""

    content: Content
    data: str
    """Where the data set is, or goes."""
    small: str = ""
    """Another data set of the same kind, to load before anything is measured."""
    do: Literal["write", "load", "record"] = "load"
    storage: str = "raw"
    cache: str = "none"
    pixels: str = "uint8"
    obs_steps: int = 1
    chunk: int = 1
    batch: int = 64

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Task:
        """Return the task that ``to_argument`` wrote on a contestant's command line."""
        values = json.loads(arguments[0])
        content = values.pop("content")
        content["cameras"] = {name: tuple(size) for name, size in content["cameras"].items()}
        return cls(Content(**content), **values)

    def to_argument(self) -> str:
        """Return the task as JSON."""
        return json.dumps(asdict(self))


class Contestant:
    """A running contestant. Use it as a context manager.

    Args:
        python: The interpreter of its environment.
        script: Its script, relative to ``benchmarks/``.
        task: What it is to do.
    """

    def __init__(self, python: Path, script: str, task: Assignment) -> None:
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        # Answers come through a pipe of their own: libraries print what they like.
        reading, writing = os.pipe()
        self._process = subprocess.Popen(
            [str(python), str(HERE / script), task.to_argument()],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._output,
            text=True,
            pass_fds=[writing],
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
                ANSWERS: str(writing),
            },
        )
        os.close(writing)
        self._answers = os.fdopen(reading)
        self.pid = self._process.pid

    def ask(self, question: str, value: float = 0.0) -> dict[str, float]:
        """Return the answer; raise ContestantError with its last words when it died."""
        answer = ""
        if self._process.stdin is not None and self._process.poll() is None:
            self._process.stdin.write(f"{question} {value}\n")
            self._process.stdin.flush()
            answer = self._answers.readline()
        if not answer:
            self._process.wait()
            self._output.seek(0)
            raise ContestantError(f"{self._process.args} failed:\n{self._output.read()[-2000:]}")
        return json.loads(answer)

    def __enter__(self) -> Contestant:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._answers.close()
        self._output.close()


def peer_versions() -> dict[str, str]:
    """Return the versions of the peers that are installed."""
    return {
        found.name: found.version
        for folder in PEERS.glob("*/lib/python*/site-packages")
        for found in distributions(path=[str(folder)])
        if found.name == folder.parents[2].name
    }


def serve(questions: Mapping[str, Callable[[float], Mapping[str, float]]]) -> None:
    """Answer questions until the benchmark hangs up."""
    with os.fdopen(int(os.environ[ANSWERS]), "w", buffering=1) as answers:
        for line in sys.stdin:
            question, value = line.split()
            answers.write(json.dumps(questions[question](float(value))) + "\n")


def serve_loader(open_data: Callable[[Path], Epoch], task: Task) -> None:
    """Answer questions about loading.

    ``open``: open the data and say how much memory that took. ``load s``: load for s seconds.
    ``close`` them. ``cold s``: open them again and load at most one epoch, all of it timed.
    """
    epochs: list[Epoch] = []
    # What the first use of a library costs (imports, pools) is not the memory of the data.
    next(open_data(Path(task.small))())

    def open_it(_: float) -> dict[str, float]:
        before = _resident_mb()
        epochs.append(open_data(Path(task.data)))
        next(epochs[0]())
        return {"memory_mb": _resident_mb() - before}

    def load(seconds: float) -> dict[str, float]:
        return {"samples_per_s": _rate(_forever(epochs[0]), time.perf_counter(), seconds)}

    def close(_: float) -> dict[str, float]:
        epochs.clear()
        gc.collect()
        return {}

    def cold(seconds: float) -> dict[str, float]:
        start = time.perf_counter()
        return {"samples_per_s": _rate(open_data(Path(task.data))(), start, seconds)}

    serve({"open": open_it, "load": load, "close": close, "cold": cold})


def _rate(batches: Iterator[int], start: float, seconds: float) -> float:
    samples = 0
    for count in batches:
        samples += count
        if time.perf_counter() - start > seconds:
            break
    return samples / (time.perf_counter() - start)


def _forever(epoch: Epoch) -> Iterator[int]:
    while True:
        yield from epoch()


def _resident_mb() -> float:
    """Return the memory that this process has, after giving back what it does not use."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
