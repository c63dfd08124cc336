"""A disk on which no file grows any more, without needing one."""

import contextlib
import resource


@contextlib.contextmanager
def files_end_at(size):
    """Make writes beyond ``size`` bytes of a file fail, in this process and its children.

    Python ignores the signal that would come with it; so the error is like that of a full disk.
    """
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
