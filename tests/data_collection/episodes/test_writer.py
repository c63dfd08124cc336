import json
import resource
import subprocess
import sys
import threading

import numpy as np
import pytest

from data_collection.episodes import (
    AsyncEpisodeWriter,
    EpisodeAttributes,
    EpisodeError,
    read_episode,
    write_episode,
)

ATTRIBUTES = EpisodeAttributes(seed=1, success=True)


def test_the_record_says_what_the_episode_holds(tmp_path, make_arrays):
    arrays = make_arrays(steps=4)
    arrays["reward"] = np.array([1, 2, 3, 0.5], np.float32)
    arrays["actor"] = np.array([0, 0, 1, 0], np.uint8)
    record = write_episode(tmp_path, "r1", arrays, ATTRIBUTES)
    path = tmp_path / "episodes" / "r1.h5"
    assert (record.id, record.length, record.total_reward) == ("r1", 4, 6.5)
    assert record.actors == {"expert": 0.75, "student": 0.25, "other": 0.0}
    assert record.bytes == path.stat().st_size
    line = json.loads(record.to_line())
    assert line["return"] == 6.5
    assert line["seed"] == 1
    np.testing.assert_array_equal(read_episode(path)["action"], arrays["action"])


def test_the_record_depends_on_nothing_but_the_episode(tmp_path, make_arrays):
    first = write_episode(tmp_path / "x", "r1", make_arrays(), ATTRIBUTES)
    assert write_episode(tmp_path / "y", "r1", make_arrays(), ATTRIBUTES) == first


def test_a_refused_episode_leaves_no_file(tmp_path, make_arrays):
    arrays = make_arrays()
    arrays["reward"][2] = np.inf
    with pytest.raises(EpisodeError, match="r1: reward is NaN or infinite at step 2"):
        write_episode(tmp_path, "r1", arrays, ATTRIBUTES)
    assert not list(tmp_path.rglob("*r1*"))


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from data_collection.episodes import EpisodeAttributes, EpisodeError, write_episode
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
arrays = dict(np.load(sys.argv[2]))
try:
    write_episode(Path(sys.argv[1]), "r1", arrays, EpisodeAttributes(seed=1, success=True))
except EpisodeError as error:
    sys.exit(str(error))
"""


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path, make_arrays):
    np.savez(tmp_path / "arrays.npz", **make_arrays())
    folder = tmp_path / "round"
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(folder), str(tmp_path / "arrays.npz")],
        capture_output=True,
        text=True,
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096
    assert done.returncode == 1
    assert "could not be written" in done.stderr
    assert "Free some space" in done.stderr
    assert list((folder / "episodes").iterdir()) == []


def test_the_thread_writes_all_and_reports_each(tmp_path, make_arrays):
    records = []
    with AsyncEpisodeWriter(tmp_path, records.append, max_pending=2) as writer:
        for number in range(7):
            writer.submit(f"r{number}", make_arrays(number), ATTRIBUTES)
    assert [record.id for record in records] == [f"r{number}" for number in range(7)]
    for record in records:
        stored = read_episode(tmp_path / "episodes" / f"{record.id}.h5")
        np.testing.assert_array_equal(stored["action"], make_arrays(int(record.id[1:]))["action"])


def test_the_threads_error_reaches_the_caller_and_good_episodes_survive(tmp_path, make_arrays):
    records = []
    bad = make_arrays()
    bad["action"][0, 0] = np.nan
    writer = AsyncEpisodeWriter(tmp_path, records.append)
    writer.submit("good", make_arrays(), ATTRIBUTES)
    writer.submit("bad", bad, ATTRIBUTES)
    with pytest.raises(EpisodeError, match="bad: action is NaN"):
        writer.close()
    with pytest.raises(EpisodeError, match="bad: action is NaN"):
        writer.submit("next", make_arrays(), ATTRIBUTES)
    assert [record.id for record in records] == ["good"]
    assert [path.name for path in (tmp_path / "episodes").iterdir()] == ["good.h5"]


def test_submit_waits_while_the_queue_is_full(tmp_path, make_arrays):
    release = threading.Event()
    writer = AsyncEpisodeWriter(tmp_path, lambda _: release.wait(10), max_pending=1)
    for number in range(3):  # one being reported, then one queued, then one that must wait
        thread = threading.Thread(
            target=writer.submit, args=(f"r{number}", make_arrays(), ATTRIBUTES)
        )
        thread.start()
        thread.join(0.5)
    assert thread.is_alive()
    release.set()
    thread.join(10)
    writer.close()
    assert len(list((tmp_path / "episodes").iterdir())) == 3
