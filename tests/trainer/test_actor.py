import numpy as np
import pytest
import torch

from tests.support.acting_policy import ActingPolicy
from tests.support.toy import make_toy
from trainer.acting import load_policy
from trainer.actor import Actor, ObservationError
from trainer.checkpoint import resolve_checkpoint
from trainer.environment import EVALUATION_SEED_START, STATE, Environment, StepResult
from trainer.errors import CheckpointError, ConfigError, UserError
from trainer.evaluate import evaluate
from trainer.interfaces import TASK, Interface
from trainer.planner import PolicyPlanner
from trainer.registry import environments
from trainer.rollout import RolloutHooks, RolloutJob, rollout
from trainer.schema import ComponentSpec

SEED = EVALUATION_SEED_START + 3


class Walk(Environment):
    """The state sums up the actions; every instance writes down what was done to it."""

    control_hz, max_steps, action_dim = 20.0, 9, 3
    observation_shapes = {STATE: (5,)}  # noqa: RUF012
    played: dict[int, list[np.ndarray]] = {}  # noqa: RUF012

    def reset(self, seed):
        self.actions = self.played[seed] = []
        self.state = np.random.default_rng(seed).normal(size=5).astype(np.float32)
        return {STATE: self.state}

    def step(self, action):
        self.actions.append(action.copy())
        self.state = self.state + np.float32(0.1) * action.sum(dtype=np.float32)
        return StepResult({STATE: self.state, "extra": self.state}, 0.0, False, False, False)


@pytest.fixture(scope="module", autouse=True)
def _registered():
    environments.register("walk_of_actors")(Walk)
    yield
    environments._entries.pop("walk_of_actors")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A flow policy that is evaluated three steps a chunk; one with two observations, ensembled."""
    toy = make_toy(tmp_path_factory.mktemp("toy"))
    toy.edit(train__epochs=1, evaluation={"every": None, "execute_horizon": 3})
    assert toy.train() == 0, toy.log.read_text()
    toy.edit(
        interface__obs_steps=2,
        evaluation={"every": None, "temporal_ensembling": 0.1, "inference_batch": 4},
        train__save_dir="runs/history",
    )
    assert toy.train() == 0, toy.log.read_text()
    return toy


def acted(actor, seed, steps=9):
    environment = Walk()
    observation = environment.reset(seed)
    actor.reset(seed)
    actions = []
    for _ in range(steps):
        actions.append(actor.act(observation))
        observation = environment.step(actions[-1]).observation
    return np.stack(actions)


@pytest.mark.parametrize("run", ["runs/toy/exp1", "runs/history"])
def test_its_actions_are_those_of_an_evaluation_to_the_bit(toy, run):
    checkpoint = resolve_checkpoint(toy.root / run)
    saved = load_policy(checkpoint, torch.device("cpu"))
    evaluate(
        saved.policy,
        saved.config.interface.to_interface(),
        ComponentSpec(type="walk_of_actors"),
        saved.config.evaluation,
        at=str,
        root=toy.root,
        episodes=3,
        seed=SEED,
    )
    expected = {seed: np.stack(actions) for seed, actions in Walk.played.items()}
    assert sorted(expected) == [SEED, SEED + 1, SEED + 2]
    Walk.played.clear()
    actor = Actor.load(toy.root / run)
    for seed in (SEED + 1, SEED, SEED + 2, SEED):  # one actor for all of them, in any order
        np.testing.assert_array_equal(acted(actor, seed), expected[seed])
    Walk.played.clear()


class Sums(ActingPolicy):
    """Its actions are the running sum of all states it decided on: it has a memory."""

    def initial_state(self, batch_size):
        return {"sum": torch.zeros(batch_size, 3)}

    def predict_action(self, observation, state, generators):
        total = state["sum"] + observation[STATE][:, -1, :3]
        return total[:, None].repeat(1, 2, 1), {"sum": total}


def test_the_policys_memory_lasts_for_an_episode():
    interface = Interface(obs_steps=1, chunk=2, control_hz=20.0, state=5, action=3)

    class Actions(RolloutHooks):
        seen: list[np.ndarray] = []  # noqa: RUF012

        def on_step(self, slot, action, result):
            self.seen.append(action)

    planner = PolicyPlanner(Sums(), interface)
    list(rollout([Walk()], [RolloutJob("a", 7)], planner=planner, hooks=Actions()))
    actor = Actor(Sums(), interface)
    for _ in range(2):
        np.testing.assert_array_equal(acted(actor, 7), np.stack(Actions.seen))


def test_settings_of_the_caller_go_before_those_of_the_evaluation(toy):
    def chunk_starts(**settings):
        actor = Actor.load(toy.root / "runs/history", inference_batch=1, **settings)
        planned, seen = actor.planner.plan, []
        actor.planner.plan = lambda drives: seen.append(drives[0].step) or planned(drives)
        acted(actor, 0, steps=8)
        return seen

    assert chunk_starts() == list(range(8))
    assert chunk_starts(execute_horizon=4) == [0, 4]
    with pytest.raises(ConfigError, match="expected 1 to 4"):
        Actor.load(toy.root / "runs/history", execute_horizon=5)


def test_fewer_integration_steps_are_an_override(toy):
    one = Actor.load(toy.root / "runs/toy/exp1", overrides=["policy.params.flow.num_steps=1"])
    assert not np.array_equal(acted(one, 0), acted(Actor.load(toy.root / "runs/toy/exp1"), 0))
    with pytest.raises(ConfigError, match="did you mean 'num_steps'"):
        Actor.load(toy.root / "runs/toy/exp1", overrides=["policy.params.flow.num_step=1"])


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="neither a checkpoint"):
        Actor.load(tmp_path)


class SeesAll(Sums):
    needs = frozenset({TASK})


ALL = Interface(1, 2, 20.0, 5, 3, {"head": (3, 4, 6)})
FITTING = {
    STATE: np.ones(5),
    "observation.images.head": np.zeros((3, 4, 6), np.uint8),
    TASK: 1,
}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({STATE: np.ones(4)}, r"observation.state: expected shape \(5,\), got \(4,\)"),
        ({STATE: np.ones((1, 5))}, r"expected shape \(5,\), got \(1, 5\)"),
        ({STATE: np.array([1, np.nan, 1, np.inf, 1])}, r"observation.state: not finite at \[1, 3"),
        ({STATE: list("abcde")}, "observation.state: expected numbers, got <U1"),
        (
            {"observation.images.head": np.zeros((4, 6, 3), np.uint8)},
            r"head: expected shape \(3, 4, 6\), got \(4, 6, 3\)",
        ),
        ({"observation.images.head": np.zeros((3, 4, 6))}, "head: expected uint8, got float64"),
        ({TASK: 0.5}, "task: expected an integer, got float64"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused_and_not_used(changes, problem):
    actor = Actor(SeesAll(), ALL, execute_horizon=1)
    first = actor.act(FITTING)
    with pytest.raises(ObservationError, match=problem):
        actor.act(FITTING | changes)
    np.testing.assert_array_equal(actor.act(FITTING), 2 * first)


def test_everything_that_is_wrong_is_said_at_once():
    actor = Actor(SeesAll(), ALL)
    with pytest.raises(UserError) as caught:
        actor.act({STATE: np.ones(4)})
    message = str(caught.value)
    assert "\n" not in message
    assert "observation.state: expected shape (5,)" in message
    assert "observation.images.head (3, 4, 6) is missing (given: ['observation.state'])" in message


def test_buffers_may_be_used_again():
    interface = Interface(obs_steps=2, chunk=1, control_hz=20.0, state=5, action=3)

    class First(Sums):
        def predict_action(self, observation, state, generators):
            return observation[STATE][:, :1, :3], state

    actor, buffer = Actor(First(), interface), np.ones(5)
    assert actor.act({STATE: buffer}).tolist() == [1, 1, 1]
    buffer[:] = 2
    assert actor.act({STATE: buffer}).tolist() == [1, 1, 1]
