"""The step loop of every driver in every environment: policies, experts, mixtures of the two.

Several environments are stepped in turn, each in its own slot; a free slot takes the next job.
What a slot does depends only on its job, never on the number of slots or on its neighbours:
randomness comes from generators that are seeded by the job's own seed.

A *planner* (``trainer.planner.PolicyPlanner``) fills the action queues of all slots with one
batched decision; *hooks* see every step, and may choose another action than the planned one.
Nothing here imports torch: an expert alone is driven without it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import ParamSpec, Protocol, TypeVar

import numpy as np

from trainer.environment import Environment, Observation, StepResult
from trainer.errors import UserError
from trainer.seeding import stream_seed

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class RolloutJob:
    """One episode to be played: its identity and the seed of everything random in it."""

    id: str
    seed: int


@dataclass(frozen=True)
class EpisodeResult:
    """How an episode ended. ``seconds_deciding`` sums the wall time of the decisions it awaited."""

    id: str
    seed: int
    length: int
    success: bool
    episode_return: float
    decisions: int
    seconds_deciding: float


@dataclass
class PlannedEpisode:
    """A running episode as far as a planner is concerned, whoever executes its actions."""

    index: int
    """The planner's row for it."""
    job: RolloutJob = field(init=False)
    history: deque[Observation] = field(init=False)
    """The last ``obs_steps`` observations, oldest first; the first one fills what is missing."""
    planned: deque[np.ndarray] = field(init=False)
    """Actions (A,) which the planner has decided and which are not executed yet."""
    interrupted: bool = field(init=False)
    """Whether the planner has to forget what it decided earlier in this episode."""
    step: int = field(init=False)

    def begin(self, job: RolloutJob, observation: Observation, obs_steps: int) -> None:
        """Forget the last episode; ``observation`` is the first one of ``job``."""
        self.job = job
        self.history = deque([observation] * obs_steps, maxlen=obs_steps)
        self.planned = deque()
        self.interrupted = False
        self.step = 0

    def interrupt(self) -> None:
        """Drop the plan: something else is executed, so it answers states that are not reached."""
        self.planned.clear()
        self.interrupted = True


@dataclass
class Slot(PlannedEpisode):
    """An environment and the episode that runs in it."""

    environment: Environment
    observation: Observation = field(init=False)
    """What the next action answers; inside ``on_step`` still the one before the step."""
    generator: np.random.Generator = field(init=False)
    """Random numbers for hooks: a function of the job's seed."""
    success: bool = field(init=False)
    episode_return: float = field(init=False)
    decisions: int = field(init=False)
    seconds_deciding: float = field(init=False)

    def start(self, job: RolloutJob, obs_steps: int) -> None:
        """Reset the environment and all counters for ``job``."""
        self.observation = self.environment.reset(job.seed)
        self.begin(job, self.observation, obs_steps)
        self.generator = np.random.default_rng(stream_seed(job.seed, "hooks"))
        self.success = False
        self.episode_return = 0.0
        self.decisions = 0
        self.seconds_deciding = 0.0

    def result(self) -> EpisodeResult:
        """Return how the episode stands."""
        return EpisodeResult(
            id=self.job.id,
            seed=self.job.seed,
            length=self.step,
            success=self.success,
            episode_return=self.episode_return,
            decisions=self.decisions,
            seconds_deciding=self.seconds_deciding,
        )


class Planner(Protocol):
    """Decides for several slots at once."""

    obs_steps: int
    """How many observations a decision looks at."""

    def check(self, environments: Sequence[Environment]) -> None:
        """Raise UserError when these environments do not fit."""
        ...

    def reset(self, slot: PlannedEpisode) -> None:
        """Forget the row's previous episode; ``slot.job`` is the new one."""
        ...

    def plan(self, slots: Sequence[PlannedEpisode]) -> None:
        """Append at least one action to the ``planned`` queue of each of these slots."""
        ...


class RolloutError(Exception):
    """Something that is no user's mistake ended an episode; the cause says what."""

    def __init__(self, job: RolloutJob) -> None:
        super().__init__(f"rollout {job.id} (seed {job.seed}) failed")
        self.job = job


class ActionError(UserError):
    """A policy gave an action that no environment can execute."""

    def __init__(self, job: RolloutJob, message: str) -> None:
        super().__init__(message)
        self.job = job


class RolloutHooks:
    """What a caller may see and decide at each step; this base changes nothing."""

    def on_reset(self, slot: Slot) -> None:
        """An episode begins: ``slot.observation`` is its first observation."""
        return

    def before_steps(self, slots: Sequence[Slot]) -> None:
        """Each of these slots makes its next step now, in this order.

        May raise RolloutError where it knows in whose episode something broke down.
        """
        return

    def choose_action(self, slot: Slot, planned: np.ndarray | None) -> np.ndarray:
        """Return the action (A,) to execute; ``planned`` is None when there is no planner."""
        if planned is None:
            raise ValueError("without a planner the hooks must choose the actions")
        return planned

    def on_step(self, slot: Slot, action: np.ndarray, result: StepResult) -> None:
        """``action`` was executed at ``slot.step`` in answer to ``slot.observation``."""
        return

    def on_episode_end(self, slot: Slot, result: EpisodeResult) -> None:
        """The episode is over; the environment still is in its last state."""
        return


def rollout(
    environments: Sequence[Environment],
    jobs: Iterable[RolloutJob],
    *,
    planner: Planner | None = None,
    hooks: RolloutHooks | None = None,
    max_steps: int | None = None,
    stop_on_success: bool = True,
) -> Iterator[EpisodeResult]:
    """Yield the result of each job as its episode ends.

    All slots decide together: when no running slot has a planned action left, one call plans for
    all of them. A slot that starts in between waits; as stepping is serial, this costs nothing.

    Args:
        environments: One per slot, all alike.
        jobs: Taken one at a time, whenever a slot is free.
        planner: Decides the actions; None when ``hooks.choose_action`` does it alone.
        hooks: Sees every reset, step and end.
        max_steps: Ends (truncates) an episode earlier than the environment itself would.
        stop_on_success: End an episode at its first success.

    Raises:
        UserError: The environments do not fit the planner; ActionError: an action is not finite.
        RolloutError: A simulator or a hook broke down in an episode, or the planner did: then the
            first of those it planned for is named, as where ``before_steps`` does not say itself
            whose episode it was. What ``on_episode_end`` raises passes as it is.
    """
    hooks = hooks or RolloutHooks()
    if planner is not None:
        planner.check(environments)
    pending = iter(jobs)

    def start(slot: Slot) -> bool:
        job = next(pending, None)
        if job is None:
            return False
        _blaming(job, _start, slot, job, planner, hooks)
        return True

    running = [
        slot
        for slot in (Slot(i, environment) for i, environment in enumerate(environments))
        if start(slot)
    ]
    while running:
        if planner is not None and not any(slot.planned for slot in running):
            _blaming(running[0].job, _decide, planner, running)
        ready = [slot for slot in running if planner is None or slot.planned]
        _blaming(ready[0].job, hooks.before_steps, ready)
        for slot in ready:
            if _blaming(slot.job, _step, slot, hooks, max_steps, stop_on_success):
                result = slot.result()
                hooks.on_episode_end(slot, result)
                yield result
                if not start(slot):
                    running.remove(slot)


def _blaming(job: RolloutJob, play: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Say whose episode it was when something breaks down; what users can mend passes."""
    try:
        return play(*args, **kwargs)
    except (UserError, RolloutError):
        raise
    except Exception as error:
        raise RolloutError(job) from error


def _start(slot: Slot, job: RolloutJob, planner: Planner | None, hooks: RolloutHooks) -> None:
    """Begin the episode of a job."""
    slot.start(job, 1 if planner is None else planner.obs_steps)
    if planner is not None:
        planner.reset(slot)
    hooks.on_reset(slot)


def _decide(planner: Planner, slots: Sequence[Slot]) -> None:
    """Plan for all slots and book the time to each of them."""
    begin = perf_counter()
    planner.plan(slots)
    seconds = perf_counter() - begin
    for slot in slots:
        slot.decisions += 1
        slot.seconds_deciding += seconds


def _step(slot: Slot, hooks: RolloutHooks, max_steps: int | None, stop_on_success: bool) -> bool:
    """Execute one action and return whether the episode is over."""
    action = hooks.choose_action(slot, slot.planned.popleft() if slot.planned else None)
    result = slot.environment.step(action)
    limit = slot.environment.max_steps if max_steps is None else max_steps
    if slot.step + 1 >= limit and not result.truncated:
        result = result._replace(truncated=True)
    slot.success = slot.success or result.success
    slot.episode_return += result.reward
    hooks.on_step(slot, action, result)
    slot.step += 1
    slot.observation = result.observation
    slot.history.append(result.observation)
    return result.terminated or result.truncated or (stop_on_success and slot.success)
