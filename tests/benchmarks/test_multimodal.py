import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("multimodal")


def ride(gates_x, success):
    """A ride through the gates at these x."""
    path = [(0.0, 0.0), *zip(gates_x, (0.2, 0.4, 0.6), strict=True), (0.0, 0.7)]
    return sys.modules["avoiding_rides"].Ride(np.array(path), success)


def score(study, rides, **figures):
    return study.Score([ride(*each) for each in rides], **figures)


LEFT, RIGHT = (-0.075, -0.15, -0.225), (0.075, 0.15, 0.225)


def test_only_successful_rides_have_routes(study):
    both = score(study, [(LEFT, True), (RIGHT, True), (LEFT, False), (LEFT, False)])
    assert both.success == 0.5
    assert both.entropy == pytest.approx(np.log(2) / np.log(24))
    assert score(study, [(LEFT, False)]).entropy == 0


def test_a_row_has_the_means_over_seeds_and_their_spread(study):
    half = score(study, [(LEFT, True), (LEFT, False)], ms=4.0, evaluations=10, steps=500)
    whole = score(study, [(LEFT, True), (RIGHT, True)], ms=2.0, evaluations=10, steps=500)
    assert study.row("flow", [half, whole]) == {
        "name": "flow",
        "seeds": 2,
        "success": 0.75,
        "success ±": 0.25,
        "entropy": round(0.5 * np.log(2) / np.log(24), 3),
        "entropy ±": round(0.5 * np.log(2) / np.log(24), 3),
        "ms a decision": 3.0,
        "evaluations": 10,
        "gradient steps": 500,
    }


def test_a_score_that_is_written_and_read_is_the_same(study, tmp_path):
    written = score(study, [(LEFT, True), (RIGHT, False)], ms=4.0, steps=500)
    written.write(tmp_path / "score.npz")
    read = study.Score.read(tmp_path / "score.npz")
    assert (read.success, read.entropy) == (written.success, written.entropy)
    assert (read.ms, read.evaluations, read.steps) == (4.0, None, 500)
    for ours, theirs in zip(read.rides, written.rides, strict=True):
        np.testing.assert_array_equal(ours.path_t2, theirs.path_t2)


def test_the_expert_succeeds_on_many_routes(study):
    expert = study.expert_score(24)
    assert expert.success == 1
    assert expert.entropy > 0.7
    assert len(expert.rides) == 24


def test_every_entry_is_a_shipped_experiment(study):
    assert [entry.config for entry in study.ENTRIES if not entry.config.is_file()] == []


@pytest.mark.slow
def test_the_study_runs_draws_and_repeats_nothing(results, tmp_path):
    plot, work = tmp_path / "plot.png", tmp_path / "work"
    arguments = ["--work", str(work), "--plot", str(plot), "--jobs", "1"]
    rows = results("multimodal.py", *arguments, "--only", "behaviour cloning")
    assert list(rows) == ["expert", "behaviour cloning"]
    assert rows["expert"]["success"] == 1
    assert rows["behaviour cloning"]["gradient steps"] == 20
    assert plot.stat().st_size > 10_000
    (weights,) = work.glob("**/epoch_1/action_head.pt")
    written = weights.stat().st_mtime_ns
    assert (
        results("multimodal.py", *arguments, "--only", "behaviour cloning")["expert"]
        == rows["expert"]
    )
    assert weights.stat().st_mtime_ns == written
