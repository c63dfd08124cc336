import pytest

from data_collection.distillation.phases import Phases, describe
from data_collection.distillation.schema import AlgorithmConfig


def test_the_switch_comes_by_itself_and_shows_a_banner():
    phases = Phases(AlgorithmConfig(phase1_iterations=100), 300)
    assert [phases.at(i).number for i in (0, 99, 100, 299)] == [1, 1, 2, 2]
    assert [phases.at(i).student_share for i in (0, 99, 100, 299)] == [0, 0, 1, 1]
    banners = {i: phases.banner(i) for i in range(300)}
    shown = [i for i, banner in banners.items() if banner]
    assert shown == [100]
    text = "SWITCHING TO PHASE 2: Now using STUDENT actions to update environment"
    assert text in banners[100]
    assert "Iteration: 101" in banners[100]  # as its report calls it


def test_counters_are_those_of_the_phase():
    phases = Phases(AlgorithmConfig(phase1_iterations=100), 300)
    assert describe(phases.at(99), 99) == [
        "Training Phase: Phase 1 (teacher actions)",
        "Phase Iteration: 100/100 (Phase 1)",
    ]
    assert describe(phases.at(100), 100) == [
        "Training Phase: Phase 2 (student actions)",
        "Phase Iteration: 1/200 (Phase 2)",
    ]


def test_without_two_stages_the_student_acts_throughout():
    phases = Phases(AlgorithmConfig(use_two_stage_training=False, blend_iterations=5), 300)
    assert {phases.at(i).student_share for i in range(300)} == {1.0}
    assert not any(phases.banner(i) for i in range(300))
    assert describe(phases.at(0), 0)[1] == "Phase Iteration: 1/300 (Phase 2)"


def test_a_blend_rises_linearly():
    phases = Phases(AlgorithmConfig(phase1_iterations=10, blend_iterations=3), 30)
    shares = [phases.at(i).student_share for i in range(9, 15)]
    assert shares == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1])
    assert "in 25% of the steps" in describe(phases.at(10), 10)[0]
    assert "within 3 iterations" in str(phases.banner(10))
