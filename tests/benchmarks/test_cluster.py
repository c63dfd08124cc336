import pytest

from tests.support.ray_cluster import needs_ray

pytestmark = [needs_ray, pytest.mark.slow, pytest.mark.xdist_group("ray")]


def test_the_cluster_is_measured_against_worker_processes(results):
    rows = results("cluster.py", "--only", "state only")
    assert rows["state only, 2 processes"]["ratio"] > 0


def test_the_simulation_is_fed_with_what_was_measured(results):
    rows = results("cluster.py", "--only", "simulated")
    one, ten = rows["simulated, 1 nodes"], rows["simulated, 10 nodes"]
    assert ten["rollouts/s"] > 3 * one["rollouts/s"] > 0


def test_handing_out_a_job_is_measured_with_rollouts_that_are_empty(results):
    (row,) = results("cluster.py", "--only", "queue overhead").values()
    difference = row["empty job on ray ms"] - row["local ms"]
    assert row["ms a job"] == pytest.approx(difference, abs=0.02)


def test_pictures_that_are_drawn_together_are_compared_with_single_ones(results):
    (row,) = results("cluster.py", "--only", "render batching").values()
    assert row["gain"] == pytest.approx(row["pictures/s"] / row["one by one"], rel=0.02)
