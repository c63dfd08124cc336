import pytest


@pytest.mark.slow
def test_pictures_are_drawn_alone_and_in_batches(results):
    pytest.importorskip("diffusers")
    rows = results("controlnet_speed.py")
    assert list(rows) == [f"controlnet, {n} in an evaluation, 4 callers" for n in (1, 2)]
    assert all(row["pictures/s"] > 0 for row in rows.values())
