"""A cluster on a simulated clock: where do the runner, the queue or the storage saturate?

The durations are recorded ones: how long a rollout plays, what an episode costs the queue, the
storage's link and the runner. Nodes play, each one rollout after the other; every episode then goes
over the link, is copied by one of the runner's copiers and entered by the runner.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import simpy
from simpy.resources.resource import Request

Steps = Generator[simpy.Event, object, None]


@dataclass(frozen=True)
class Durations:
    """What one episode takes, in seconds, wherever it takes time."""

    rollouts: Sequence[float]
    """Of each recorded rollout; nodes draw from them."""
    queue: float
    """Of the queue's process."""
    link: float
    """On the storage's network link, which all nodes share."""
    copy: float
    """Of one of the runner's copiers: it reads, checks and syncs the file."""
    runner: float
    """Of the runner's own process: it reads the report and enters the episode."""


@dataclass(frozen=True)
class Saturation:
    """How a simulated cluster does."""

    rollouts_per_s: float
    busy: dict[str, float]
    """The share of the time in which each shared part works."""
    nodes_busy: float
    """The mean share of the time in which nodes play."""

    @property
    def limit(self) -> str:
        """Return what keeps the cluster from being faster."""
        part, share = max(self.busy.items(), key=lambda item: item[1])
        return part if share > 0.95 else "nodes"


def simulate(
    durations: Durations, nodes: int, *, copiers: int, prefetched: int, simulated_s: float
) -> Saturation:
    """Return how ``nodes`` teacher nodes do in ``simulated_s`` seconds, the first half not counted.

    Args:
        durations: What an episode takes.
        nodes: Teacher nodes.
        copiers: Copies that the runner makes at the same time.
        prefetched: Jobs that each node may have under way: the runner sends no more.
        simulated_s: The length of the simulation.
    """
    world = simpy.Environment()
    draw = np.random.default_rng(0)
    parts = {
        "queue": simpy.Resource(world),
        "link": simpy.Resource(world),
        "copiers": simpy.Resource(world, copiers),
        "runner": simpy.Resource(world),
    }
    costs = {
        "queue": durations.queue,
        "link": durations.link,
        "copiers": durations.copy,
        "runner": durations.runner,
    }
    worked = dict.fromkeys([*parts, "nodes"], 0.0)
    entered = 0
    warm_s = simulated_s / 2

    def spend(part: str, seconds: float) -> Steps:
        begin = world.now
        yield world.timeout(seconds)
        worked[part] += max(0.0, world.now - max(begin, warm_s))

    def node() -> Steps:
        under_way = simpy.Resource(world, prefetched)
        while True:
            turn = under_way.request()
            yield turn  # back-pressure: its episodes have to be entered
            yield from spend("nodes", float(draw.choice(durations.rollouts)))
            world.process(episode(under_way, turn))

    def episode(under_way: simpy.Resource, turn: Request) -> Steps:
        nonlocal entered
        for part, resource in parts.items():
            with resource.request() as mine:
                yield mine
                yield from spend(part, costs[part])
        entered += world.now > warm_s
        under_way.release(turn)

    for _ in range(nodes):
        world.process(node())
    world.run(until=simulated_s)
    counted_s = simulated_s - warm_s
    busy = {p: worked[p] / counted_s / resource.capacity for p, resource in parts.items()}
    return Saturation(entered / counted_s, busy, worked["nodes"] / counted_s / nodes)
