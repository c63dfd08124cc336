"""What the commands share: logging, and errors as messages instead of tracebacks."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from trainer.errors import UserError
from trainer.files import cannot_write, is_full
from trainer.stopping import Interrupted

USER_ERROR_EXIT = 2
INTERRUPTED_EXIT = 130  # 128 + SIGINT, as shells report it


def run_command(main: Callable[[Sequence[str]], int], *, resumes: bool = False) -> NoReturn:
    """Exit with what ``main`` returns for the command line; 2 after a UserError, 130 after Ctrl-C.

    A full disk is a user's error, too, wherever it is met.
    Training that was asked to stop, and has saved what it had, exits as the signal would have it.
    Sets up logging first: rank 0 logs from INFO, the other torchrun ranks from WARNING. Of a
    command that ``resumes`` it is said, after Ctrl-C, that it goes on where it was.
    """
    rank = int(os.environ.get("RANK", "0"))
    prefix = f"[rank {rank}] " if rank else ""
    level = logging.WARNING if rank else logging.INFO
    logging.basicConfig(level=level, format=f"{prefix}%(message)s")
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        sys.stderr.write(f"{prefix}error: {error}\n")
        sys.exit(USER_ERROR_EXIT)
    except OSError as error:
        if not is_full(error):
            raise
        message = cannot_write(error.filename or "a file", error.strerror or str(error))
        sys.stderr.write(f"{prefix}error: {message}\n")
        sys.exit(USER_ERROR_EXIT)
    except Interrupted as interrupted:
        logging.getLogger(__name__).info("%s", interrupted)
        sys.exit(interrupted.exit_code)
    except KeyboardInterrupt:
        advice = "; start the same command again to go on" if resumes else ""
        sys.stderr.write(f"{prefix}interrupted{advice}\n")
        sys.exit(INTERRUPTED_EXIT)


def output_file(text: str) -> Path:
    """Return the file that an option names; argparse reports one that cannot be written."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder, expected a file")
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def nonnegative(text: str) -> int:
    """Return the number that an option gives; argparse reports one below 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, got {value}")
    return value


def positive(text: str) -> int:
    """Return the number that an option gives; argparse reports one below 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {value}")
    return value
