import json
import pickle
import sys

import numpy as np
import pytest

from data_collection.episodes import EpisodeError, open_round, pack, seal


@pytest.mark.parametrize("packed", [False, True])
def test_every_way_of_reading_gives_the_same_arrays(make_round, make_arrays, packed):
    folder = make_round(images=True, labels=True)
    if packed:
        pack(folder)
    sealed = pickle.loads(pickle.dumps(open_round(folder)))  # noqa: S301 - what it has just written itself
    expected = [make_arrays(n, steps=3 + n, images=True, labels=True) for n in range(4)]
    assert sealed.lengths.tolist() == [3, 4, 5, 6]
    assert set(sealed.keys) == expected[0].keys()
    for key in sealed.keys:
        rows = np.concatenate([arrays[key] for arrays in expected])
        np.testing.assert_array_equal(sealed.read_rows(key), rows)
        for number, arrays in enumerate(expected):
            np.testing.assert_array_equal(sealed.array(key, number), arrays[key])
            np.testing.assert_array_equal(sealed.read_episode(number)[key], arrays[key])


def test_arrays_are_mapped_read_only(make_round):
    frames = open_round(make_round(images=True)).array("observation.images.head", 0)
    assert isinstance(frames, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        frames[0] = 0


def test_opening_reads_no_episode(make_round, monkeypatch):
    folder = make_round()
    monkeypatch.setitem(sys.modules, "h5py", None)
    sealed = open_round(folder)
    assert sealed.read_rows("action").shape == (18, 2)
    assert sealed.manifest["rollout_001"].attributes.prompt == "go"
    assert "level: 3" in sealed.config_yaml


def test_a_manifest_from_before_drivers_were_named_is_read(make_round):
    folder = make_round(sealed=False)
    manifest = folder / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert all(line.pop("driver_checkpoint") is None for line in lines)
    manifest.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    seal(folder)
    assert len(open_round(folder).manifest) == 4


def test_an_unsealed_round_is_refused_with_what_to_do(make_round):
    folder = make_round(sealed=False)
    with pytest.raises(EpisodeError, match=r"round_000 is not sealed; run what .*seal\(folder"):
        open_round(folder)
    config = folder / "config.yaml"
    config.write_text("episodes: 4\nteacher: {type: toy}\n")
    with pytest.raises(EpisodeError, match=r"is not sealed; run data_collection\.collect on its"):
        open_round(folder)
    seal(folder)
    assert len(open_round(folder).ids) == 4


def test_a_folder_of_rounds_names_them(make_round, tmp_path):
    make_round("data/round_000")
    make_round("data/round_001", sealed=False)
    with pytest.raises(EpisodeError, match=r"data is no round; it holds round_000, round_001: nam"):
        open_round(tmp_path / "data")
    with pytest.raises(EpisodeError, match=r"holds no round: there is neither round.json nor conf"):
        open_round(tmp_path)


def test_another_format_version_is_refused(make_round):
    folder = make_round()
    content = json.loads((folder / "round.json").read_text()) | {"format_version": 99}
    (folder / "round.json").write_text(json.dumps(content))
    with pytest.raises(EpisodeError, match="format_version 99, expected 1"):
        open_round(folder)


def test_a_missing_folder_file_or_key_is_named(make_round, tmp_path):
    with pytest.raises(EpisodeError, match="nowhere: no such round folder"):
        open_round(tmp_path / "nowhere")
    folder = make_round()
    with pytest.raises(EpisodeError, match=r"observation\.images\.head was not recorded"):
        open_round(folder).read_rows("observation.images.head")
    (folder / "episodes" / "rollout_001.h5").unlink()
    with pytest.raises(EpisodeError, match=r"rollout_001\.h5: No such file"):
        open_round(folder)


def test_a_truncated_episode_is_named(make_round):
    folder = make_round()
    path = folder / "episodes" / "rollout_003.h5"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(EpisodeError, match=r"rollout_003\.h5: truncated: 100 of"):
        open_round(folder)


def test_a_damaged_index_is_named(make_round):
    folder = make_round()
    index = bytearray((folder / "index.npz").read_bytes())
    index[len(index) // 2] ^= 4
    (folder / "index.npz").write_bytes(index)
    with pytest.raises(EpisodeError, match=r"index\.npz: damaged"):
        open_round(folder)
