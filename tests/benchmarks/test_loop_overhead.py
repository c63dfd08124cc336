import pytest


def test_both_loops_train_and_their_ratio_is_written(results):
    (row,) = results("loop_overhead.py", "--only", "state MLP").values()
    assert row["turns"] == 2
    assert row["ratio"] > 0
    assert row["trainer samples/s"] > 0
    assert row["bare samples/s"] > 0


@pytest.mark.slow
def test_the_other_cases_train_too(results):
    assert len(results("loop_overhead.py")) == 3
