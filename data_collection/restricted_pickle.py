"""Reads pickles of plain values and numpy arrays, and refuses all others unexecuted.

A pickle is a program: it may call anything that it can name. Here it can name next to nothing, not
even numpy, whose own ways to restore an array trust what they are told about memory.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trainer.errors import DataError

_NUMBERS = re.compile(r"[biuf][0-9]{1,2}")


def load_pickle(path: Path) -> object:
    """Return what the file holds: numbers, texts, lists, tuples, dictionaries, arrays of numbers.

    Raises:
        DataError: The file is missing, no pickle, or names anything but what arrays are made of.
    """
    try:
        with path.open("rb") as file:
            return _with_arrays(_Unpickler(file, encoding="latin1").load())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except _ForbiddenGlobalError as error:
        raise DataError(
            f"{path}: refused, nothing was executed: this pickle asks for {error}; expected plain "
            "values and numpy arrays alone. Do not use this file where it comes from strangers"
        ) from error
    except Exception as error:  # a damaged pickle fails in whatever way its bytes ask for
        raise DataError(f"{path}: not a whole pickle of plain values: {error}") from error


class _ForbiddenGlobalError(Exception):
    """A pickle names something that it may not use; the message is that name."""


class _Dtype:
    """A dtype in the making: of numbers alone."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not _NUMBERS.fullmatch(code):
            raise ValueError(f"expected arrays of numbers, got the dtype {code!r}")
        self._code = code
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[object, ...]) -> None:
        byte_order = state[1]  # the rest follows from the code
        if byte_order not in ("<", ">", "|", "="):
            raise ValueError(f"expected the byte order of a dtype, got {byte_order!r}")
        self.dtype = np.dtype(f"{byte_order}{self._code}")


class _Array:
    """An array in the making; what the pickle says of its class is ignored."""

    def __init__(self, subtype: object, shape: object, code: object) -> None:
        self.array = np.empty(0)

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, bytes | str]) -> None:
        _, shape, dtype, is_fortran, data = state
        if isinstance(data, str):  # as Python 2 wrote bytes
            data = data.encode("latin1")
        flat = np.frombuffer(data, dtype.dtype)
        self.array = flat.reshape(shape, order="F" if is_fortran else "C").copy(order="K")


def _encode(text: str, encoding: str) -> bytes:
    """Return the bytes which old pickle protocols write as text; no codec but one is reached."""
    if encoding != "latin1":
        raise ValueError(f"expected bytes written as latin1, got {encoding}")
    return text.encode("latin1")


_GLOBALS: dict[tuple[str, str], Callable[..., object] | str] = {
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): "numpy.ndarray",  # only ever passed to _Array
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Callable[..., object] | str:
        """Return one of the few things a pickle may name; raise otherwise."""
        try:
            return _GLOBALS[module_name, global_name]
        except KeyError:
            raise _ForbiddenGlobalError(f"{module_name}.{global_name}") from None


def _with_arrays(value: object) -> object:
    """Return ``value`` with finished arrays; raise ValueError for what is no plain value."""
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, dict):
        return {_with_arrays(key): _with_arrays(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_with_arrays(item) for item in value)
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    raise ValueError(f"it holds a {type(value).__name__}")
