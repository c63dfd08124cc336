"""Contestants: processes, each in the environment of its own library, that measure when asked.

They all live at once and take turns. This module needs the standard library alone: ``serve`` is
the contestants' side, ``Contestant`` the benchmark's.
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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).parent
ANSWERS = "BENCHMARK_ANSWERS"
"""Environment variable: the file descriptor for answers."""

Spec = dict[str, object]
"""What a contestant is to do; JSON."""

Epoch = Callable[[], Iterator[int]]
"""Returns an iterator over one shuffled epoch, which yields each batch's number of samples."""


class Contestant:
    """A running contestant. Use it as a context manager.

    Args:
        python: The interpreter of its environment.
        script: Its script, relative to ``benchmarks/``.
        spec: Handed to the script as JSON.
    """

    def __init__(self, python: Path, script: str, spec: Spec) -> None:
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        # Answers come through a pipe of their own: libraries print what they like.
        reading, writing = os.pipe()
        self._process = subprocess.Popen(
            [str(python), str(HERE / script), json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._output,
            text=True,
            pass_fds=[writing],
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(HERE),
                ANSWERS: str(writing),
            },
        )
        os.close(writing)
        self._answers = os.fdopen(reading)

    def ask(self, question: str, value: float = 0.0) -> dict[str, float]:
        """Return the answer; raise RuntimeError with its last words when the contestant died."""
        answer = ""
        if self._process.stdin is not None and self._process.poll() is None:
            self._process.stdin.write(f"{question} {value}\n")
            self._process.stdin.flush()
            answer = self._answers.readline()
        if not answer:
            self._process.wait()
            self._output.seek(0)
            raise RuntimeError(f"{self._process.args} failed:\n{self._output.read()[-2000:]}")
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


def serve(questions: Mapping[str, Callable[[float], Mapping[str, float]]]) -> None:
    """Answer questions until the benchmark hangs up."""
    with os.fdopen(int(os.environ[ANSWERS]), "w", buffering=1) as answers:
        for line in sys.stdin:
            question, value = line.split()
            answers.write(json.dumps(questions[question](float(value))) + "\n")


def serve_loader(open_data: Callable[[Path], Epoch], spec: Spec) -> None:
    """Answer questions about loading.

    ``open``: open ``spec["data"]`` and say how much memory that took. ``load s``: load for s
    seconds. ``cold s``: open and load, at most one epoch, the time of opening included.
    """
    data, epochs = Path(str(spec["data"])), list[Epoch]()
    # What the first use of a library costs (imports, pools) is not the memory of the data.
    next(open_data(Path(str(spec["small"])))())

    def open_it(_: float) -> dict[str, float]:
        before = _resident_mb()
        start = time.perf_counter()
        epochs.append(open_data(data))
        next(epochs[0]())
        seconds = time.perf_counter() - start
        return {"memory_mb": _resident_mb() - before, "open_s": seconds}

    def load(seconds: float) -> dict[str, float]:
        return {"samples_per_s": _rate(_forever(epochs[0]), time.perf_counter(), seconds)}

    def cold(seconds: float) -> dict[str, float]:
        start = time.perf_counter()
        return {"samples_per_s": _rate(open_data(data)(), start, seconds)}

    serve({"open": open_it, "load": load, "cold": cold})


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
