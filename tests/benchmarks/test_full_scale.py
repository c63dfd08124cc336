import json

import pytest

from benchmarks.loss_curves import curve_of, plot


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_steps_are_timed_and_what_was_trained_is_rolled_out(results, tmp_path):
    picture = tmp_path / "curves.png"
    arguments = ["--work", str(tmp_path / "work"), "--plot", str(picture), "--workers", "1"]
    rows = results("full_scale.py", "--only", "vfp_single_expert/exp2", *arguments)
    product, small, larger, trained = rows.values()
    assert product["TFLOP/s"] > 0
    assert larger["TFLOP a step"] / small["TFLOP a step"] == pytest.approx(1.5, rel=0.01)
    assert 0 < small["of bf16 peak"] < 1
    assert small["host syncs"] is None  # on the CPU there is nothing to wait for
    assert trained["steps"] == 2
    assert trained["success"] in (0, 1)
    assert picture.stat().st_size > 0


def test_a_curve_is_the_velocity_s_loss_and_leaves_evaluations_out(tmp_path):
    lines = [
        {"step": 50, "train/loss": 3.0, "train/velocity": 2.0},
        {"step": 100, "train/loss": 1.0},
        {"step": 100, "evaluation/success_rate": 1.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert curve_of(tmp_path) == [(50, 2.0), (100, 1.0)]
    plot({"some policy": curve_of(tmp_path)}, tmp_path / "new" / "curves.png")
    assert (tmp_path / "new" / "curves.png").stat().st_size > 0
