import pytest

from tests.support.ray_cluster import running_head


@pytest.fixture(scope="package")
def cluster():
    """A head that holds two teacher nodes, two render nodes and the trainer node."""
    with running_head(teachers=2, renderers=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def backend(cluster):
    with cluster.connected() as backend:
        yield backend
