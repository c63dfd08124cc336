import os
import pickle
from collections import OrderedDict
from fractions import Fraction

import numpy as np
import pytest

from data_collection.restricted_pickle import load_pickle
from trainer.errors import DataError

CONTENT = {
    "numbers": [1, 2.5, None, True],
    "nested": {"array": np.arange(6.0).reshape(2, 3), "single": np.float32([1, 2])},
    "fortran": np.asfortranarray(np.arange(4).reshape(2, 2)),
}


class Runs:
    """Unpickling one calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def save(tmp_path):
    def write(content, protocol=2):
        path = tmp_path / "file.pkl"
        path.write_bytes(pickle.dumps(content, protocol))
        return path

    return write


@pytest.mark.parametrize("protocol", range(5))
def test_plain_values_and_arrays_are_read(save, protocol):
    content = load_pickle(save(CONTENT, protocol))
    assert content["numbers"] == CONTENT["numbers"]
    for name in ("array", "single"):
        np.testing.assert_array_equal(content["nested"][name], CONTENT["nested"][name])
        assert content["nested"][name].dtype == CONTENT["nested"][name].dtype
    np.testing.assert_array_equal(content["fortran"], CONTENT["fortran"])


def test_arrays_under_numpys_old_module_names_are_read(save):
    path = save(CONTENT, 2)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.", b"numpy.core."))
    np.testing.assert_array_equal(load_pickle(path)["nested"]["array"], CONTENT["nested"]["array"])


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("place", [lambda x: x, lambda x: {"a": [1, x]}, lambda x: [CONTENT, x]])
def test_a_pickle_that_would_run_a_command_is_refused_and_runs_nothing(
    save, tmp_path, protocol, place
):
    ran = tmp_path / "ran"
    path = save(place(Runs(os.system, f"touch {ran}")), protocol)
    with pytest.raises(DataError, match=r"refused, nothing was executed.*asks for posix\.system"):
        load_pickle(path)
    assert not ran.exists()
    pickle.loads(path.read_bytes())  # noqa: S301 - the same file does run it where nothing is refused
    assert ran.exists()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (Runs(eval, "1 + 1"), "eval"),
        (Runs(getattr, np.array([1]), "dtype"), "getattr"),
        (Runs(np.fromfile, "x"), "fromfile"),
        (OrderedDict(a=1), "OrderedDict"),
        (Fraction(1, 2), "Fraction"),
        (np.random.default_rng(0), "numpy"),
    ],
)
def test_every_other_global_is_refused(save, content, name):
    with pytest.raises(DataError, match=rf"refused.*{name}"):
        load_pickle(save(content))


def test_encode_reaches_no_other_codec(tmp_path):
    path = tmp_path / "codec.pkl"
    path.write_bytes(b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.")
    with pytest.raises(DataError, match="expected bytes written as latin1, got rot13"):
        load_pickle(path)


def test_what_is_no_pickle_is_one_clear_error(save, tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_pickle(tmp_path / "absent.pkl")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        load_pickle(tmp_path)
    path = tmp_path / "text.pkl"
    path.write_text("hello, this is not a pickle\n")
    with pytest.raises(DataError, match="not a whole pickle"):
        load_pickle(path)


def test_damage_never_brings_anything_but_a_data_error(save):
    path = save({"a": np.arange(5.0), "b": ["text", (1, 2)]})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError):
            load_pickle(path)
    for _ in range(1000):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load_pickle(path)
        except DataError:
            refused += 1
    assert refused > 100
