"""Memory of a process and of all that it has started, watched from outside."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

_INTERVAL_S = 0.05
_COUNTED = ("Pss_Anon:", "Pss_Shmem:")


class PeakMemory:
    """The most memory that a process and its descendants have at once while this is entered.

    Pages of files (libraries, mapped data) do not count: the kernel can drop them.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.mb = 0.0

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.mb = max(self.mb, memory_mb(self._pid))
            if self._over.wait(_INTERVAL_S):
                return


def memory_mb(pid: int) -> float:
    """Return the memory of the process and its descendants; what several share counts once."""
    process = Path("/proc") / str(pid)
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
        children = [
            int(child)
            for task in (process / "task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return 0.0
    own_kb = sum(int(line.split()[1]) for line in lines if line.startswith(_COUNTED))
    return own_kb / 1024 + sum(map(memory_mb, children))
