import subprocess
import sys

import numpy as np
import pytest

from data_collection.episodes import EpisodeError, open_round, pack, verify_round
from data_collection.episodes import pack as pack_round
from data_collection.episodes.pack import _places
from data_collection.pack import main
from trainer.errors import ConfigError, DataError


def test_shards_replace_the_episode_files_and_verify(make_round):
    folder = make_round(episodes=6)
    before = open_round(folder)
    states = before.read_rows("observation.state")
    size = int(before.index.sizes.max())
    shards = pack(folder, shard_bytes=2 * size + 8192)
    assert shards > 1
    assert len(list((folder / "shards").iterdir())) == shards
    assert list((folder / "episodes").iterdir()) == []
    after = open_round(folder)
    assert after.ids == before.ids
    np.testing.assert_array_equal(after.read_rows("observation.state"), states)
    assert verify_round(folder) == []


def test_places_are_aligned_and_stay_under_the_limit():
    shard_of, starts = _places(np.array([5000, 3000, 5000, 30000, 10]), 16384)
    assert shard_of.tolist() == [0, 0, 1, 2, 3]
    assert starts.tolist() == [0, 8192, 0, 0, 0]


def test_a_damaged_episode_stops_packing_and_nothing_is_removed(make_round):
    folder = make_round()
    path = folder / "episodes" / "rollout_001.h5"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(EpisodeError, match=r"rollout_001\.h5: .* does not match"):
        pack(folder)
    assert len(list((folder / "episodes").iterdir())) == 4
    assert open_round(folder).file(0).name == "rollout_000.h5"


def test_altered_figures_are_not_packed_into_new_hashes(make_round):
    folder = make_round()
    manifest = folder / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"success": false', '"success": true', 1))
    problems = verify_round(folder)
    assert problems
    with pytest.raises(EpisodeError, match="manifest"):
        pack(folder)
    assert verify_round(folder) == problems


def test_the_command_packs_rounds_and_refuses_others_in_a_line(make_round, capsys):
    folder = make_round()
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}: 1 shard\n"
    with pytest.raises(DataError, match="not sealed"):
        main([str(make_round("round_001", sealed=False))])


def test_two_processes_do_not_pack_the_same_round(make_round):
    folder = make_round()
    code = "with locked_folder(Path(sys.argv[1]), ''): print('inside', flush=True); input()"
    first = f"import sys\nfrom trainer.files import Path, locked_folder\n{code}"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", first, str(folder)], **pipes) as packing:
        assert packing.stdout.readline() == b"inside\n"
        with pytest.raises(ConfigError, match=r"another process packs .*; wait for it"):
            main([str(folder)])
        packing.communicate(b"\n")
    assert main([str(folder)]) == 0


def test_packing_again_removes_what_an_interrupted_packing_left(make_round):
    folder = make_round()
    leftovers = {p: p.read_bytes() for p in (*folder.glob("episodes/*"), folder / "index.npz")}
    pack(folder)
    for path, data in leftovers.items():
        path.write_bytes(data)
    assert pack_round(folder) == 1
    assert not any(path.exists() for path in leftovers)
    assert verify_round(folder) == []


def test_an_unsealed_round_is_not_packed(make_round):
    with pytest.raises(EpisodeError, match="not sealed"):
        pack(make_round(sealed=False))
