import pytest

STEPS = ("1 step on", "3 steps on", "7 steps on")


@pytest.mark.slow
def test_warped_pictures_are_nearer_to_the_truth_than_old_ones(results):
    rows = results("warp.py", "--only", "drawer-open")
    cameras = ("corner2", "gripperPOV")
    assert list(rows) == [f"drawer-open-v3, {c}, {steps}" for c in cameras for steps in STEPS]
    for row in rows.values():
        assert 0 < row["visible"] <= 100
        assert row["PSNR visible"] > row["copy visible"]
        assert row["PSNR filled"] > row["copy"]
