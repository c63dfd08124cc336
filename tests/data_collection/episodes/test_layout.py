import io

import h5py
import numpy as np

from data_collection.episodes.layout import Rows, find_arrays, lay_out


def _arrays():
    rng = np.random.default_rng(0)
    return {
        "observation.images.head": rng.integers(0, 256, (5, 3, 40, 60)).astype(np.uint8),
        "observation.state": rng.normal(size=(5, 3)).astype(np.float32),
        "label.frame": np.empty(0, np.int64),
        "action_valid": np.array([True, False, True, True, False]),
    }


def test_the_pieces_end_to_end_are_a_file_that_hdf5_reads():
    arrays = _arrays()
    image = b"".join(lay_out(arrays, {"note": b"hello"})[0])
    with h5py.File(io.BytesIO(image)) as file:
        assert file.attrs["note"] == b"hello"
        for key, array in arrays.items():
            dataset = file[key.replace(".", "/")]
            assert dataset.dtype == array.dtype
            np.testing.assert_array_equal(dataset[...], array)


def test_pictures_are_not_copied():
    arrays = _arrays()
    pieces, _ = lay_out(arrays, {})
    views = [np.frombuffer(piece, np.uint8) for piece in pieces if len(piece)]
    assert any(np.shares_memory(view, arrays["observation.images.head"]) for view in views)
    copied = sum(v.size for v in views if not any(np.shares_memory(v, a) for a in arrays.values()))
    assert copied < 10_000


def test_arrays_that_are_not_contiguous_are_written_as_they_read():
    turned = np.arange(24, dtype=np.float32).reshape(4, 6).T
    with h5py.File(io.BytesIO(b"".join(lay_out({"a": turned}, {})[0]))) as file:
        np.testing.assert_array_equal(file["a"][...], turned)


def test_arrays_are_found_where_they_were_put(tmp_path):
    arrays = _arrays()
    pieces, extents = lay_out(arrays, {})
    path = tmp_path / "a.h5"
    path.write_bytes(b"".join(pieces))
    assert find_arrays(path) == extents
    for key, array in arrays.items():
        np.testing.assert_array_equal(extents[key].read(path), array)


def test_rows_have_a_second_name_but_no_second_place(tmp_path):
    arrays = _arrays()
    links = {"generated.images.head": Rows("observation.images.head", [0, 3])}
    plain, linked = (b"".join(lay_out(arrays, {}, each)[0]) for each in (None, links))
    assert len(linked) - len(plain) < 10_000 < arrays["observation.images.head"].nbytes
    path = tmp_path / "episode.h5"
    path.write_bytes(linked)
    with h5py.File(path) as file:
        seen = file["generated/images/head"]
        assert seen.is_virtual
        np.testing.assert_array_equal(seen[...], arrays["observation.images.head"][[0, 3]])
    assert find_arrays(path).keys() == arrays.keys()
    assert linked == b"".join(lay_out(arrays, {}, links)[0])
