import pytest

from benchmarks.scale_out import Durations, simulate

FREE = {"queue": 0.0, "link": 0.0, "copy": 0.0, "runner": 0.0}


def cluster(nodes: int, **costs: float):
    durations = Durations(rollouts=[2.0], **(FREE | costs))
    return simulate(durations, nodes, copiers=4, prefetched=3, simulated_s=4000.0)


@pytest.mark.parametrize("nodes", [1, 30])
def test_free_parts_leave_the_nodes_alone(nodes):
    found = cluster(nodes)
    assert found.rollouts_per_s == pytest.approx(nodes / 2.0, rel=0.01)
    assert found.nodes_busy == pytest.approx(1.0, rel=0.01)
    assert found.limit == "nodes"


@pytest.mark.parametrize(
    ("costs", "most", "limit"),
    [
        ({"runner": 0.1}, 10.0, "runner"),
        ({"link": 0.2}, 5.0, "link"),
        ({"copy": 0.8}, 5.0, "copiers"),  # four of them
        ({"queue": 0.25, "runner": 0.1}, 4.0, "queue"),
    ],
)
def test_the_slowest_shared_part_decides(costs, most, limit):
    found = cluster(100, **costs)
    assert found.rollouts_per_s == pytest.approx(most, rel=0.01)
    assert found.limit == limit
    assert found.nodes_busy == pytest.approx(most * 2.0 / 100, rel=0.02)  # Little's law


def test_a_cluster_below_its_limit_is_as_fast_as_its_nodes():
    found = cluster(10, runner=0.1)  # 5 a second of at most 10
    assert found.rollouts_per_s == pytest.approx(5.0, rel=0.01)
    assert found.busy["runner"] == pytest.approx(0.5, rel=0.01)
