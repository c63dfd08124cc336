"""Starting actors: what Ray is told, in one place."""

from __future__ import annotations

from typing import cast

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

NAMESPACE = "offline_trainer"
"""Of the names of actors, in a cluster that others may use for other things."""

_CALLS_AT_ONCE = 1000


def start_node(kind: type, resource: str, *arguments: str, gpus: float = 0.0) -> ActorHandle:
    """Return an actor on a machine that offers ``resource``, one unit of which it takes.

    It ends when it dies, or when its runner does.
    """
    options = ray.remote(
        num_cpus=0, num_gpus=gpus, resources={resource: 1}, scheduling_strategy="SPREAD"
    )
    return cast(ActorHandle, options(kind).remote(*arguments))  # type: ignore[attr-defined]


def start_named(
    kind: type, name: str, *arguments: str, resource: str | None = None, gpus: float = 0.0
) -> ActorHandle:
    """Return an asynchronous actor that others find by its name; it is started again when it dies.

    With a ``resource`` it is on a machine that offers that, and calls fail while it is not there.
    Otherwise it is on this machine, and calls wait.

    Raises:
        ValueError: The name is taken.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = ray.remote(
        num_cpus=0,
        num_gpus=gpus,
        resources={resource: 1} if resource else {},
        scheduling_strategy="SPREAD" if resource else here,
        name=name,
        namespace=NAMESPACE,
        max_restarts=-1,
        max_task_retries=0 if resource else -1,
        max_concurrency=_CALLS_AT_ONCE,
    )  # type: ignore[call-overload]
    return cast(ActorHandle, options(kind).remote(*arguments))


def find(name: str) -> ActorHandle:
    """Return an actor by its name; raise ValueError when there is none."""
    return ray.get_actor(name, NAMESPACE)


def text_of(reference: ray.ObjectRef) -> str:
    """Wait for an actor's answer, and return it."""
    return cast(str, ray.get(reference))
