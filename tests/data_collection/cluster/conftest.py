import tempfile
from pathlib import Path

import pytest

from tests.support.ray_cluster import RayCluster


@pytest.fixture(scope="package")
def cluster():
    """A head that holds two teacher nodes, two render nodes and the trainer node."""
    # Ray's sockets lie there, and their paths must be short.
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        cluster = RayCluster(Path(folder))
        try:
            cluster.head(teachers=2, renderers=2)
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="module")
def backend(cluster):
    with cluster.connected() as backend:
        yield backend
