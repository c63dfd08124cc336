import pytest

from tests.support.course import COURSE, needs_course


@pytest.mark.slow
@needs_course
def test_each_seed_and_their_mean_have_a_row_of_shares(results, tmp_path):
    plot = tmp_path / "plot.png"
    work = ["--experts", str(COURSE), "--work", str(tmp_path / "work"), "--plot", str(plot)]
    rows = results("course_rounds.py", "--jobs", "1", *work)
    assert list(rows) == ["hopper, seed 0", "hopper, mean"]
    assert rows["hopper, mean"] == rows["hopper, seed 0"]
    # Twenty gradient steps make no expert, and a fall is not below nothing.
    assert all(0 < float(share) < 0.5 for share in rows["hopper, mean"].values())
    assert plot.stat().st_size > 5_000
