"""Named random streams: everything random in a run follows from its one seed."""

import hashlib


def stream_seed(seed: int, name: str, *indices: int) -> int:
    """Return a 63-bit seed for the stream ``name``, for instance ("order", epoch) of run ``seed``.

    Streams with different names or indices are unrelated, and do not depend on each other's use.
    """
    text = "/".join([str(seed), name, *map(str, indices)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
