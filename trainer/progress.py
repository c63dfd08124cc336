"""Progress bars that do not flood a log file."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tqdm import tqdm

_SECONDS_BETWEEN_LINES_OF_A_LOG = 10.0


def progress_bar(
    iterable: Iterable | None = None,
    *,
    total: int,
    description: str,
    unit: str,
    initial: int = 0,
    leave: bool = True,
    disable: bool = False,
) -> tqdm:
    """Return a bar on the standard error; where that is no terminal, a line every ten seconds.

    Args:
        iterable: What it counts, or None to call ``update``.
        total: How much there is.
        description: What is done.
        unit: What is counted.
        initial: How much is done already.
        leave: Whether the finished bar stays.
        disable: Show nothing.
    """
    return tqdm(
        iterable,
        total=total,
        desc=description,
        unit=unit,
        initial=initial,
        leave=leave,
        disable=disable,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else _SECONDS_BETWEEN_LINES_OF_A_LOG,
    )
