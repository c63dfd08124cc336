"""``--backend ray``: rounds on the nodes of a Ray cluster, training on its trainer node."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from data_collection.backend import Backend, Pool
from data_collection.cluster.ray_environment import token_file
from data_collection.schema import CollectConfig
from trainer.cli import USER_ERROR_EXIT
from trainer.config import Loaded
from trainer.errors import UserError

try:
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined] - a compiled module
    from ray.exceptions import AuthenticationError, RayError, RayTaskError
except ImportError as error:
    raise UserError(f"--backend ray needs Ray ({error}): pip install '.[cluster]'") from error

from data_collection.cluster.actors import NAMESPACE
from data_collection.cluster.ray_pool import RayPool

_LOOK_EVERY_S = 2.0
_ANSWER_WITHIN_S = 5.0
_MISSED = 5
"""Looks at the head that may fail one after the other."""


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
            "with python -m data_collection.cluster.launch; where there is one, "
            f"{token_file(os.environ)} must be the token of its head"
        ) from error
    watch = threading.Thread(target=_end_without_head, args=(address,), daemon=True)
    watch.start()
    try:
        yield RayBackend()
    except RayTaskError as error:  # our own, raised in an actor
        if isinstance(error.cause, UserError):
            raise error.cause from error
        raise
    except RayError as error:
        raise UserError(
            f"the cluster at {address} does not answer any more: {error}\nstart it again, then "
            "the same command, which goes on where it was"
        ) from error
    finally:
        ray.shutdown()


def _end_without_head(address: str) -> None:
    """End this process when the cluster's head does not answer any more.

    Ray would do so itself, a minute later and without saying what to do; until then its calls
    neither return nor can be interrupted. A head that was started again in the meantime is another
    one, and Ray's calls wait for the old one without end. Nothing is lost: the next start goes on.
    """
    there = ray.get_runtime_context().gcs_address
    host, _, port = there.rpartition(":")
    head = GcsClient(address=there)
    missed = 0
    while missed < _MISSED:
        time.sleep(_LOOK_EVERY_S)
        if not ray.is_initialized():
            return
        try:
            socket.create_connection((host, int(port)), timeout=_LOOK_EVERY_S).close()
            head.check_alive([], timeout=_ANSWER_WITHIN_S)
            missed = 0
        except AuthenticationError:
            break
        except (OSError, RayError):
            missed += 1
    sys.stderr.write(
        f"error: the head of the cluster at {address} is lost; start it again, then the same "
        "command, which goes on where it was\n"
    )
    sys.stderr.flush()
    os._exit(USER_ERROR_EXIT)
