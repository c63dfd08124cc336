from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from data_collection.envs.gymnasium_env import GymnasiumEnv
from tests.support.acting_policy import ActingPolicy
from trainer.environment import STATE, Environment, Observation, StepResult
from trainer.errors import ConfigError, UserError
from trainer.interfaces import Interface
from trainer.ops import randn_rows
from trainer.planner import PolicyPlanner, ensemble
from trainer.rollout import RolloutHooks, RolloutJob, rollout

HOPPER = Interface(obs_steps=2, chunk=4, control_hz=125.0, state=11, action=3)
SCRIPT = Interface(obs_steps=1, chunk=3, control_hz=10.0, state=1, action=1)


class NoisyMlp(ActingPolicy):
    """A network with dropout, noise and a memory that is the running sum of what it saw."""

    def __init__(self, interface: Interface) -> None:
        super().__init__()
        torch.manual_seed(0)
        size = interface.obs_steps * interface.state
        self.interface = interface
        self.components = nn.ModuleDict(
            {
                "net": nn.Sequential(
                    nn.Linear(2 * size, 64),
                    nn.Tanh(),
                    nn.Dropout(0.5),
                    nn.Linear(64, interface.chunk * interface.action),
                )
            }
        )

    def initial_state(self, batch_size):
        return {"sum": torch.zeros(batch_size, self.interface.obs_steps * self.interface.state)}

    def predict_action(self, observation, state, generators):
        seen = observation[STATE].flatten(1)
        memory = state["sum"] + seen
        shape = (self.interface.chunk, self.interface.action)
        mean = self.components["net"](torch.cat([seen, memory.sin()], 1)).unflatten(1, shape)
        return mean + 0.1 * randn_rows(shape, generators, mean.device), {"sum": memory}


class Unaligned(ActingPolicy):
    """A linear layer on so many numbers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.components = nn.ModuleDict({"head": nn.Linear(width, 3)})
        self.lift = torch.randn(11, width)

    def predict_action(self, observation, state, generators):
        hidden = torch.tanh(observation[STATE][:, -1] @ self.lift)
        return self.components["head"](hidden).unsqueeze(1).expand(-1, 4, -1), state


def test_a_policy_whose_bits_depend_on_the_row_is_refused():
    """Whether a width is one of these is up to the kernels of this machine: see them first."""
    one = torch.randn(1, 11, generator=torch.Generator().manual_seed(1))
    found = {False: 0, True: 0}
    for width in (64, 250, 251, 253, 256):
        policy = Unaligned(width)
        rows = {STATE: one[:, None].repeat(16, 2, 1)}
        with torch.no_grad():
            action = policy.predict_action(rows, {}, [])[0]
        alike = torch.equal(action, action[:1].expand_as(action))
        planner = PolicyPlanner(policy, HOPPER, inference_batch=16)
        with nullcontext() if alike else pytest.raises(ConfigError, match="the row of a batch"):
            planner.check_rows()
        found[alike] += 1
    assert found[True] >= 1


class Script(Environment):
    """The state is the step; never ends by itself."""

    control_hz, max_steps, action_dim = 10.0, 5, 1

    def __init__(self) -> None:
        self.observation_shapes = {STATE: (1,)}

    def reset(self, seed: int) -> Observation:
        self.now = 0
        return {STATE: np.zeros(1, np.float32)}

    def step(self, action: np.ndarray) -> StepResult:
        self.now += 1
        return StepResult({STATE: np.full(1, self.now, np.float32)}, 0.0, False, False, False)


class TensSteps(ActingPolicy):
    """At step t it plans 10 t, 10 t + 1, 10 t + 2."""

    def predict_action(self, observation, state, generators):
        now = observation[STATE][:, -1, :, None]
        return 10 * now + torch.arange(3.0)[None, :, None], state


class Actions(RolloutHooks):
    def __init__(self) -> None:
        self.of: dict[str, list[np.ndarray]] = {}

    def on_step(self, slot, action, result):
        self.of.setdefault(slot.job.id, []).append(action)


def play(seeds, slots, **settings):
    hooks = Actions()
    planner = PolicyPlanner(NoisyMlp(HOPPER).train(), HOPPER, **settings)
    environments = [GymnasiumEnv(id="Hopper-v5") for _ in range(slots)]
    jobs = [RolloutJob(str(seed), seed) for seed in seeds]
    results = list(rollout(environments, jobs, planner=planner, hooks=hooks, max_steps=40))
    return hooks.of, {r.id: (r.length, r.episode_return, r.decisions) for r in results}


@pytest.mark.parametrize("settings", [{"execute_horizon": 3}, {"temporal_ensembling": 0.1}])
def test_an_episode_does_not_depend_on_slots_or_on_other_episodes(settings):
    actions, results = play([3, 1, 4, 5, 9], slots=1, **settings)
    others, other_results = play([9, 2, 5, 3, 6, 1, 4], slots=3, **settings)
    assert len({result[0] for result in results.values()}) > 1  # they end at different times
    for seed, expected in actions.items():
        assert results[seed] == other_results[seed]
        np.testing.assert_array_equal(np.stack(expected), np.stack(others[seed]))
    assert not np.array_equal(actions["3"][0], actions["1"][0])


def test_the_process_and_the_policy_are_left_as_they_were():
    policy = NoisyMlp(HOPPER).train()
    policy.components["net"][0].eval()
    torch.manual_seed(7)
    expected = torch.Generator().manual_seed(7).get_state()
    threads = torch.get_num_threads()
    results = rollout(
        [GymnasiumEnv(id="Hopper-v5")], [RolloutJob("0", 0)], max_steps=3,
        planner=PolicyPlanner(policy, HOPPER),
    )  # fmt: skip
    assert len(list(results)) == 1
    assert policy.training
    assert policy.components["net"][2].training
    assert not policy.components["net"][0].training
    assert torch.equal(torch.get_rng_state(), expected)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def played(**settings) -> list[float]:
    hooks = Actions()
    planner = PolicyPlanner(TensSteps(), SCRIPT, inference_batch=2, **settings)
    list(rollout([Script()], [RolloutJob("a", 0)], planner=planner, hooks=hooks))
    return [float(action[0]) for action in hooks.of["a"]]


def test_the_whole_chunk_is_executed_unless_a_shorter_horizon_is_asked_for():
    assert played() == [0, 1, 2, 30, 31]
    assert played(execute_horizon=2) == [0, 1, 20, 21, 40]


def test_temporal_ensembling_weighs_the_oldest_plan_most():
    decay = 0.5
    w = np.exp(-decay * np.arange(3))
    expected = [
        0,
        (1 * w[0] + 10 * w[1]) / w[:2].sum(),
        (2 * w[0] + 11 * w[1] + 20 * w[2]) / w.sum(),
        (12 * w[0] + 21 * w[1] + 30 * w[2]) / w.sum(),
        (22 * w[0] + 31 * w[1] + 40 * w[2]) / w.sum(),
    ]
    np.testing.assert_allclose(played(temporal_ensembling=decay), expected, rtol=1e-6)


def test_equal_plans_ensemble_to_themselves():
    chunk = np.full((3, 2), 0.3, np.float32)
    np.testing.assert_array_equal(ensemble([chunk, chunk, chunk], 0.01), chunk[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"execute_horizon": 4}, r"expected 1 to 3 \(interface.chunk\), got 4"),
        ({"execute_horizon": 2, "temporal_ensembling": 0.1}, "decides at every step"),
    ],
)
def test_contradicting_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        PolicyPlanner(TensSteps(), SCRIPT, **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": 2}, r"observation.state: the policy wants shape \(2,\), .* gives \(1,\)"),
        ({"action": 2}, "interface.action: the policy has 2, the environment 1"),
        ({"control_hz": 20.0}, "interface.control_hz: the policy has 20, the environment 10"),
        ({"cameras": {"head": (3, 8, 8)}}, "wants observation.images.head"),
    ],
)
def test_an_environment_that_does_not_fit_is_refused(change, message):
    interface = Interface(**(vars(SCRIPT) | change))
    planner = PolicyPlanner(TensSteps(), interface)
    with pytest.raises(ConfigError, match=message):
        next(rollout([Script()], [RolloutJob("a", 0)], planner=planner))


def test_more_environments_than_rows_are_refused():
    planner = PolicyPlanner(TensSteps(), SCRIPT, inference_batch=1)
    with pytest.raises(ConfigError, match="inference_batch of at least as many, got 1"):
        next(rollout([Script(), Script()], [RolloutJob("a", 0)], planner=planner))


def test_an_action_that_is_not_finite_stops_the_rollout():
    class Broken(TensSteps):
        def predict_action(self, observation, state, generators):
            action, state = super().predict_action(observation, state, generators)
            return action / 0, state

    with pytest.raises(UserError, match="not finite in episode 'a', step 0"):
        list(rollout([Script()], [RolloutJob("a", 0)], planner=PolicyPlanner(Broken(), SCRIPT)))


def test_after_an_interruption_no_earlier_plan_counts():
    class Interrupting(Actions):
        def choose_action(self, slot, planned):
            if slot.step != 2:
                return planned
            slot.interrupt()
            return np.float32([-1])

    played = Interrupting()
    planner = PolicyPlanner(TensSteps(), SCRIPT, temporal_ensembling=0.5)
    list(rollout([Script()], [RolloutJob("a", 0)], planner=planner, hooks=played))
    w = np.exp(-0.5 * np.arange(2))
    np.testing.assert_allclose(
        np.concatenate(played.of["a"]),
        [0, (1 * w[0] + 10 * w[1]) / w.sum(), -1, 30, (31 * w[0] + 40 * w[1]) / w.sum()],
        rtol=1e-6,
    )
