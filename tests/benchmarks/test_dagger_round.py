import pytest


@pytest.mark.slow
def test_a_round_is_measured_against_the_bare_simulator(results):
    rows = results("dagger_round.py", "--without-peers")
    collecting, networks, bare = rows.values()
    assert next(iter(rows)) == "project, 2 workers"
    assert collecting["steps/s"] == pytest.approx(1000 * collecting["rollouts/s"], rel=0.01)
    assert collecting["of bare"] > 0
    assert networks["of bare"] > 0
    assert bare["of bare"] == 1
    assert collecting["disk / arrays"] == pytest.approx(1.1, abs=0.05)
    assert collecting["peak MB"] > 50
    assert bare["peak MB"] is None
