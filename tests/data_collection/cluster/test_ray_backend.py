import pytest

from tests.support.ray_cluster import needs_ray
from trainer.errors import UserError

pytestmark = [needs_ray, pytest.mark.xdist_group("ray")]


def put_into_a_queue(cluster, jobs) -> None:
    with cluster.connected():
        import ray

        from data_collection.cluster.actors import start_named
        from data_collection.cluster.teacher_queue import TeacherQueue

        queue = start_named(TeacherQueue, "fails")
        ray.get(queue.news.remote(jobs, 0.0), timeout=60)


@pytest.mark.parametrize(
    ("jobs", "kind", "said"),
    [
        (["no JSON"], UserError, "^a JobMessage on the cluster is not understood"),
        (3, TypeError, "not iterable"),
    ],
)
def test_what_is_raised_in_an_actor_is_not_taken_for_a_lost_cluster(cluster, jobs, kind, said):
    with pytest.raises(kind, match=said):
        put_into_a_queue(cluster, jobs)
