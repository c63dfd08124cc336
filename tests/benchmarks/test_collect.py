import pytest


def test_recording_without_simulation_is_measured(results):
    rows = results("collect.py", "--without-peers", "--only", "record")
    assert [name.rpartition(", ")[2] for name in rows] == ["project raw", "project jpeg"]
    assert all(row["frames/s"] > 0 for row in rows.values())


@pytest.mark.slow
def test_collecting_is_measured_against_a_bare_loop(results):
    (row,) = results("collect.py", "--only", "state only").values()
    assert row["reference"] == "bare loop"
    assert row["ratio"] > 0
