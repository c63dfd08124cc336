"""Errors that a user can mend: one clear message and exit code 2, never a traceback."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something outside the program is wrong: a file, a setting, a missing package.

    The message says what was expected, what was found, where, and what to do.
    Commands print it and exit with code 2.
    """


class ConfigError(UserError):
    """A configuration file or an override is wrong."""


class DataError(UserError):
    """Recorded data are damaged, missing, or do not fit the experiment."""


class MissingDataError(DataError):
    """The data that an experiment names are not there (yet)."""


class CheckpointError(UserError):
    """A checkpoint is damaged, incomplete, or does not fit the experiment."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest known name, or an empty string."""
    close = closest(name, known)
    return f" (did you mean {close!r}?)" if close else ""


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like ``name``, or None when none is."""
    names = list(known)
    # What was cut short is nearer to the whole than difflib finds.
    begun = sorted((each for each in names if name and each.startswith(name)), key=len)
    matches = begun or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return matches[0] if matches else None
