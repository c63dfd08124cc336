import importlib.util
import sys
from pathlib import Path

import pytest

from tests.support.course import COURSE, needs_course

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    path = BENCHMARKS / "label_efficiency.py"
    spec = importlib.util.spec_from_file_location("label_efficiency", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["label_efficiency"] = module
    spec.loader.exec_module(module)
    return module


def points(study, method, *pairs, seed=0):
    return [
        study.Point("task", method, seed, labels, 2 * labels, score, teacher=1.0)
        for labels, score in pairs
    ]


def test_a_budget_counts_with_the_first_round_that_reaches_it(study):
    found = [
        *points(study, "BC", (1010, 0.5), (3020, 0.7)),
        *points(study, "DAgger", (500, 0.1), (1100, 0.6), (3050, 0.9)),
        *points(study, "BC", (1040, 0.7), (3000, 0.9), seed=1),
        *points(study, "DAgger", (520, 0.2), (1000, 0.8), (3050, 1.0), seed=1),
    ]
    first, second = study.budget_rows(found, [1000, 3000])
    assert (first["BC"], first["DAgger"]) == (0.6, 0.7)
    assert (second["BC"], second["DAgger"]) == (0.8, 0.95)
    assert (first["BC ±"], second["DAgger ±"]) == (0.1, 0.05)
    assert first["DAgger queries"] == 2 * 1050


def test_a_budget_that_no_round_has_just_passed_stays_empty(study):
    found = [*points(study, "BC", (1010, 0.5)), *points(study, "DAgger", (3050, 0.9))]
    (row,) = study.budget_rows(found, [1000])
    assert (row["BC"], row["DAgger"], row["DAgger seeds"]) == (0.5, None, 0)


def test_labels_needed_are_those_of_the_first_good_round(study):
    found = [
        *points(study, "BC", (200, 0.5), (1000, 0.96), (2000, 0.9)),
        *points(study, "DAgger", (200, 0.4), (400, 0.95)),
    ]
    (row,) = study.needed_rows(found)
    assert (row["BC"], row["DAgger"]) == (1000, 400)
    (row,) = study.needed_rows(found[:1] + found[-1:])
    assert row["BC"] is None
    assert row["BC reached"] == "0 of 1 seeds"


def test_a_first_round_of_demonstrations_is_a_point_of_cloning_too(study):
    rounds = [
        {"round": 0, "labels": 1000, "expert_queries": 1000, "evaluation": {"success_rate": 0.4}},
        {"round": 1, "labels": 200, "expert_queries": 3200, "evaluation": {"success_rate": 0.9}},
    ]
    summary = {"rounds": rounds, "teacher_success_rate": 1.0}
    trial = study.Trial("task", "DAgger", 0, Path("dagger.yaml"), {}, begins_as_cloning=True)
    found = [
        (p.method, p.labels, p.queries, p.score) for p in study.points(trial, summary, "success")
    ]
    assert found == [
        ("DAgger", 1000, 1000, 0.4),
        ("BC", 1000, 1000, 0.4),
        ("DAgger", 1200, 4200, 0.9),
    ]


@pytest.mark.slow
def test_the_study_runs_and_draws(results, tmp_path):
    plot = tmp_path / "plot.png"
    work = ["--work", str(tmp_path / "work"), "--plot", str(plot)]
    rows = results("label_efficiency.py", "meta_world", "--jobs", "1", *work)
    assert list(rows) == ["peg-insert-side, 1000 labels", "peg-insert-side, 1400 labels"]
    assert all(0 <= row["DAgger"] <= 1 for row in rows.values())
    assert plot.stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_course
def test_the_study_runs_on_the_courses_experts(results, tmp_path):
    plot = tmp_path / "plot.png"
    work = ["--experts", str(COURSE), "--work", str(tmp_path / "work"), "--plot", str(plot)]
    rows = results("label_efficiency.py", "course", "--jobs", "1", *work)
    assert list(rows) == ["hopper: labels to 0.95 of the expert"]
    # Twenty gradient steps make no expert.
    (row,) = rows.values()
    assert (row["BC reached"], row["DAgger reached"]) == ("0 of 1 seeds", "0 of 1 seeds")
    assert plot.stat().st_size > 5_000
