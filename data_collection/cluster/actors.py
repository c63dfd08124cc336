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


def start_service(kind: type, name: str) -> ActorHandle:
    """Return an asynchronous actor on this machine, which others find by its name.

    It is started again when it dies, without what it knew, and calls wait for that.

    Raises:
        ValueError: The name is taken.
    """
    here = ray.get_runtime_context().get_node_id()
    options = ray.remote(
        num_cpus=0,
        name=name,
        namespace=NAMESPACE,
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=_CALLS_AT_ONCE,
        scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
    )  # type: ignore[call-overload]
    return cast(ActorHandle, options(kind).remote())


def start_named_node(
    kind: type, name: str, resource: str, *arguments: str, gpus: float = 0.0
) -> ActorHandle:
    """Return an asynchronous actor on a machine that offers ``resource``, found by its name.

    It is started again when it dies, and calls wait for that.

    Raises:
        ValueError: The name is taken.
    """
    options = ray.remote(
        num_cpus=0,
        num_gpus=gpus,
        resources={resource: 1},
        scheduling_strategy="SPREAD",
        name=name,
        namespace=NAMESPACE,
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=_CALLS_AT_ONCE,
    )  # type: ignore[call-overload]
    return cast(ActorHandle, options(kind).remote(*arguments))


def find(name: str) -> ActorHandle:
    """Return an actor by its name; raise ValueError when there is none."""
    return ray.get_actor(name, NAMESPACE)


def text_of(reference: ray.ObjectRef) -> str:
    """Wait for an actor's answer, and return it."""
    return cast(str, ray.get(reference))
