import signal
import subprocess
import sys

import numpy as np
import pytest

from data_collection.episodes import (
    EpisodeAttributes,
    EpisodeError,
    RoundWriter,
    open_round,
    seal,
    verify_round,
    write_episode,
)

ATTRIBUTES = EpisodeAttributes(seed=1, success=True)


def test_adopt_enters_whole_unlisted_files_with_the_same_record(tmp_path, make_arrays):
    record = write_episode(tmp_path, "r1", make_arrays(labels=True), ATTRIBUTES)
    (tmp_path / "episodes" / ".r2.h5.77.tmp").write_bytes(b"half")
    writer = RoundWriter(tmp_path, "a: 1")
    assert writer.adopt() == [record]
    assert writer.adopt() == []
    assert writer.records == {"r1": record}
    assert [path.name for path in (tmp_path / "episodes").iterdir()] == ["r1.h5"]


def test_a_torn_last_line_is_repaired(tmp_path, make_arrays):
    writer = RoundWriter(tmp_path, "a: 1")
    records = [write_episode(tmp_path, f"r{n}", make_arrays(n), ATTRIBUTES) for n in range(2)]
    for record in records:
        writer.enter(record)
    manifest = tmp_path / "manifest.jsonl"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-20])
    again = RoundWriter(tmp_path, "a: 1")
    assert list(again.records) == ["r0"]
    assert again.adopt() == records[1:]
    assert manifest.read_bytes() == whole


def test_a_damaged_unlisted_file_is_set_aside(tmp_path, make_arrays, caplog):
    write_episode(tmp_path, "r1", make_arrays(), ATTRIBUTES)
    path = tmp_path / "episodes" / "r1.h5"
    path.write_bytes(path.read_bytes()[:-100])
    assert RoundWriter(tmp_path, "a: 1").adopt() == []
    assert not path.exists()
    assert path.with_name("r1.h5.damaged").exists()
    assert "r1.h5" in caplog.text


@pytest.mark.parametrize("seeds", [{"r2": 1}, {"r1": 2}])
def test_a_file_that_does_not_belong_into_the_round_is_set_aside(
    tmp_path, make_arrays, caplog, seeds
):
    write_episode(tmp_path, "r1", make_arrays(), ATTRIBUTES)
    assert RoundWriter(tmp_path, "a: 1").adopt(seeds) == []
    assert (tmp_path / "episodes" / "r1.h5.damaged").exists()
    assert "r1.h5 has the seed 1: no episode of this round" in caplog.text


def test_entering_twice_is_harmless_but_another_episode_is_refused(tmp_path, make_arrays):
    writer = RoundWriter(tmp_path, "a: 1")
    record = write_episode(tmp_path, "r1", make_arrays(0), ATTRIBUTES)
    writer.enter(record)
    writer.enter(record)
    assert len((tmp_path / "manifest.jsonl").read_text().splitlines()) == 1
    other = write_episode(tmp_path, "r1", make_arrays(1), ATTRIBUTES)
    with pytest.raises(EpisodeError, match="already another episode"):
        writer.enter(other)


def test_another_configuration_is_refused(tmp_path):
    RoundWriter(tmp_path, "a: 1")
    with pytest.raises(EpisodeError, match=r"config\.yaml differs"):
        RoundWriter(tmp_path, "a: 2")


def test_a_sealed_round_takes_nothing_more(tmp_path, make_arrays):
    writer = RoundWriter(tmp_path, "a: 1")
    record = write_episode(tmp_path, "r1", make_arrays(), ATTRIBUTES)
    writer.enter(record)
    seal(tmp_path)
    for forbidden in (
        lambda: writer.enter(record),
        writer.adopt,
        lambda: RoundWriter(tmp_path, "a: 1"),
        lambda: write_episode(tmp_path, "r2", make_arrays(), ATTRIBUTES),
    ):
        with pytest.raises(EpisodeError, match="is sealed"):
            forbidden()


_COLLECT = """
import sys
from pathlib import Path
import numpy as np
from data_collection.episodes import EpisodeAttributes, RoundWriter, write_episode
folder, episodes = Path(sys.argv[1]), int(sys.argv[3])
arrays = dict(np.load(sys.argv[2]))
writer = RoundWriter(folder, "a: 1")
print("adopting", flush=True)
writer.adopt()
for number in range(episodes):
    if f"r{number:03d}" not in writer.records:
        arrays["reward"][0] = number
        attributes = EpisodeAttributes(seed=number, success=True)
        writer.enter(write_episode(folder, f"r{number:03d}", arrays, attributes))
"""


def test_nothing_is_lost_or_doubled_by_kill_9(tmp_path, make_arrays):
    episodes, folder = 60, tmp_path / "round"
    np.savez(tmp_path / "arrays.npz", **make_arrays())
    command = [sys.executable, "-c", _COLLECT, folder, tmp_path / "arrays.npz", str(episodes)]
    rng = np.random.default_rng(0)
    kills = 0
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(float(rng.uniform(0.0, 0.06)))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills
    subprocess.run(command, check=True, capture_output=True)
    seal(folder)
    sealed = open_round(folder)
    assert sealed.ids == tuple(f"r{number:03d}" for number in range(episodes))
    assert [sealed.read_episode(n)["reward"][0] for n in range(episodes)] == list(range(episodes))
    assert len(list((folder / "episodes").iterdir())) == episodes
    assert verify_round(folder) == []
