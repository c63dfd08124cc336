from collections.abc import Sequence

import numpy as np
import pytest

from trainer.environment import STATE, Environment, Observation, StepResult
from trainer.rollout import RolloutError, RolloutHooks, RolloutJob, Slot, rollout


class Line(Environment):
    """The state is (seed, position); an action moves; reaching the seed's tenth is success."""

    control_hz = 10.0
    max_steps = 6
    action_dim = 1

    def __init__(self) -> None:
        self.observation_shapes = {STATE: (2,)}

    def reset(self, seed: int) -> Observation:
        self.goal, self.position = seed / 10, 0.0
        return self.observe()

    def observe(self) -> Observation:
        return {STATE: np.array([self.goal, self.position], np.float32)}

    def step(self, action: np.ndarray) -> StepResult:
        self.position += float(action[0])
        return StepResult(
            self.observe(), reward=self.position, terminated=self.position < 0,
            truncated=False, success=self.position >= self.goal,
        )  # fmt: skip


class FixedPlans:
    """Plans ``horizon`` steps of +1, and notes who asked and when."""

    def __init__(self, horizon: int, obs_steps: int = 1) -> None:
        self.horizon, self.obs_steps = horizon, obs_steps
        self.asked: list[list[tuple[str, int]]] = []
        self.histories: list[list[float]] = []

    def check(self, environments: Sequence[Environment]) -> None:
        pass

    def reset(self, slot: Slot) -> None:
        assert not slot.planned

    def plan(self, slots: Sequence[Slot]) -> None:
        self.asked.append([(slot.job.id, slot.step) for slot in slots])
        for slot in slots:
            self.histories.append([float(seen[STATE][1]) for seen in slot.history])
            slot.planned.extend([np.ones(1, np.float32)] * self.horizon)


def jobs(*seeds: int) -> list[RolloutJob]:
    return [RolloutJob(id=str(seed), seed=seed) for seed in seeds]


def test_an_episode_counts_its_steps_rewards_and_decisions():
    (result,) = rollout([Line()], jobs(30), planner=FixedPlans(2))
    assert (result.length, result.success) == (3, True)
    assert result.episode_return == 1 + 2 + 3
    assert result.decisions == 2
    assert result.seconds_deciding > 0


def test_all_slots_decide_together_when_every_queue_is_empty():
    planner = FixedPlans(4)
    results = list(rollout([Line(), Line()], jobs(10, 50, 20), planner=planner))
    # Episode 10 ends after one step; 20 then waits for the queue of 50 to run out.
    assert planner.asked == [[("10", 0), ("50", 0)], [("20", 0), ("50", 4)]]
    assert [result.id for result in results] == ["10", "50", "20"]


def test_the_missing_history_repeats_the_first_observation():
    planner = FixedPlans(1, obs_steps=3)
    list(rollout([Line()], jobs(40), planner=planner))
    assert planner.histories == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]


def test_the_horizon_truncates_an_episode_and_max_steps_replaces_it():
    class Truncations(RolloutHooks):
        def __init__(self) -> None:
            self.seen: list[bool] = []

        def on_step(self, slot: Slot, action: np.ndarray, result: StepResult) -> None:
            self.seen.append(result.truncated)

    hooks = Truncations()
    (result,) = rollout([Line()], jobs(100), planner=FixedPlans(1), hooks=hooks)
    assert (result.length, result.success) == (6, False)
    assert hooks.seen == [False] * 5 + [True]
    (result,) = rollout([Line()], jobs(100), planner=FixedPlans(1), max_steps=2)
    assert result.length == 2


def test_an_episode_may_go_on_after_its_first_success():
    (result,) = rollout([Line()], jobs(20), planner=FixedPlans(1), stop_on_success=False)
    assert (result.length, result.success) == (6, True)


def test_termination_ends_an_episode():
    class Back(RolloutHooks):
        def choose_action(self, slot: Slot, planned: np.ndarray | None) -> np.ndarray:
            return np.array([-1.0])

    (result,) = rollout([Line()], jobs(20), hooks=Back())
    assert (result.length, result.success) == (1, False)


def test_hooks_act_without_a_planner_and_see_what_their_action_answered():
    class Doubling(RolloutHooks):
        def __init__(self) -> None:
            self.steps: list[tuple[int, float, float, float]] = []
            self.ended: list[str] = []

        def choose_action(self, slot: Slot, planned: np.ndarray | None) -> np.ndarray:
            assert planned is None
            return np.array([slot.observation[STATE][1] + 1])

        def on_step(self, slot: Slot, action: np.ndarray, result: StepResult) -> None:
            before, after = slot.observation[STATE][1], result.observation[STATE][1]
            self.steps.append((slot.step, float(before), float(action[0]), float(after)))

        def on_episode_end(self, slot: Slot, result) -> None:
            self.ended.append(result.id)

    hooks = Doubling()
    list(rollout([Line()], jobs(70), hooks=hooks))
    assert hooks.steps == [(0, 0, 1, 1), (1, 1, 2, 3), (2, 3, 4, 7)]
    assert hooks.ended == ["70"]


def test_hooks_may_overrule_the_plan():
    class EverySecondStands(RolloutHooks):
        def choose_action(self, slot: Slot, planned: np.ndarray | None) -> np.ndarray:
            assert planned is not None
            return planned if slot.step % 2 == 0 else np.zeros(1)

    (result,) = rollout([Line()], jobs(20), planner=FixedPlans(2), hooks=EverySecondStands())
    assert result.length == 3


def test_without_planner_and_hooks_nobody_acts():
    with pytest.raises(RolloutError, match=r"rollout 20 \(seed 20\) failed") as caught:
        list(rollout([Line()], jobs(20)))
    assert "hooks must choose" in str(caught.value.__cause__)


def test_a_hooks_random_numbers_depend_on_the_jobs_seed_alone():
    class Draws(RolloutHooks):
        def __init__(self) -> None:
            self.first: dict[str, float] = {}

        def on_reset(self, slot: Slot) -> None:
            self.first[slot.job.id] = slot.generator.random()

    alone, together = Draws(), Draws()
    list(rollout([Line()], jobs(10, 20, 30), planner=FixedPlans(1), hooks=alone))
    list(rollout([Line(), Line()], jobs(30, 20, 10), planner=FixedPlans(1), hooks=together))
    assert alone.first == together.first
    assert len(set(alone.first.values())) == 3


def test_jobs_are_taken_only_when_a_slot_is_free():
    taken = []

    def stream():
        for job in jobs(10, 20, 30, 40):
            taken.append(job.id)
            yield job

    results = rollout([Line(), Line()], stream(), planner=FixedPlans(1))
    assert next(results).id == "10"
    assert taken == ["10", "20"]
    assert [result.id for result in results] == ["20", "30", "40"]
