"""``--backend ray``: rounds on the nodes of a Ray cluster, training on its trainer node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from data_collection.backend import Backend, Pool
from data_collection.schema import CollectConfig
from trainer.config import Loaded
from trainer.errors import UserError

try:
    import ray
    from ray.exceptions import RayError
except ImportError as error:
    raise UserError(f"--backend ray needs Ray ({error}): pip install '.[cluster]'") from error

from data_collection.cluster.actors import NAMESPACE
from data_collection.cluster.ray_pool import RayPool


class RayBackend(Backend):
    """The nodes of the cluster that this process is connected to."""

    def pool(
        self, loaded: Loaded[CollectConfig], folder: Path, *, students: bool
    ) -> AbstractContextManager[Pool]:
        """Return a pool of teacher nodes."""
        return RayPool(loaded, folder)

    def train(self, config: Path, ranks: int) -> None:
        """Train on the trainer node."""
        from data_collection.cluster.trainer_node import train_on_cluster  # needs torch

        train_on_cluster(config, ranks)


@contextmanager
def ray_backend(address: str) -> Iterator[RayBackend]:
    """Yield the backend of a cluster while connected to it.

    Args:
        address: ``HOST:PORT`` of its head; ``auto`` finds the cluster of this machine.

    Raises:
        UserError: There is no such cluster, this machine is not part of it, or it goes away.
    """
    try:
        ray.init(address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"no Ray cluster at {address}, or this machine is not part of it: {error}\nstart one "
            "with python -m data_collection.cluster.launch"
        ) from error
    try:
        yield RayBackend()
    except RayError as error:
        raise UserError(
            f"the cluster at {address} does not answer any more: {error}\nstart it again, then "
            "the same command, which goes on where it was"
        ) from error
    finally:
        ray.shutdown()
