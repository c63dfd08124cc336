"""Where a host would have to wait for a GPU, as far as the operations on a CPU show it."""

from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from data_collection.distillation.launch import enter_distillation
from data_collection.distillation.student import load_distillation
from data_collection.distillation.student_evaluation import play
from data_collection.distillation.vec_env import ObservationSet
from tests.support.vector_toy import ALONE, VectorToy

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "experiment_training" / "distillation" / "point_ctrl"
ASKS = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal"}
SIZE_UNKNOWN = {"aten::nonzero", "aten::masked_select", "aten::_unique2"}
MADE_ON_THE_HOST = {"aten::lift_fresh"}  # torch.tensor(…), which would have to be sent


class Waits(TorchDispatchMode):
    """Lists the operations for which the host would wait."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        masked = name in ("aten::index", "aten::index_put", "aten::index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if masked or name in ASKS | SIZE_UNKNOWN | MADE_ON_THE_HOST:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def noticed(monkeypatch, owner, method, waits):
    """Return a list that gets, at each call of a method, how many waits there have been."""
    counts, original = [], getattr(owner, method)

    def noticing(*arguments):
        counts.append(len(waits.found))
        return original(*arguments)

    monkeypatch.setattr(owner, method, noticing)
    return counts


@pytest.mark.parametrize("experiment", ["exp2", "exp4"])
@pytest.mark.parametrize("stages", ["phase1_iterations=9", "use_two_stage_training=false"])
def test_no_step_makes_the_host_wait(tmp_path, monkeypatch, experiment, stages):
    settings = ["num_envs=8", "evaluation=null", "logging=[]", "iterations=10"]
    settings += [f"algorithm.{stages}", f"train.save_dir={tmp_path}", "steps_per_iteration=12"]
    loaded = load_distillation(SHIPPED / experiment / "distillation.yaml", settings)
    with enter_distillation(loaded, ALONE) as runner, Waits() as waits:
        runner.loop.prepare()
        env_steps = noticed(monkeypatch, runner.collector.env, "step", waits)
        learning_steps = noticed(monkeypatch, runner.loop, "train_step", waits)
        runner.iterate()
    # From the first step to the last: all that lies between them as well.
    assert min(len(env_steps), len(learning_steps)) > 4
    assert env_steps[0] == env_steps[-1]
    assert learning_steps[0] == learning_steps[-1]
    assert len(waits.found) <= 6  # once an iteration


def test_an_evaluation_waits_no_oftener_in_longer_episodes():
    def waits_of(length):
        env = VectorToy(4, torch.device("cpu"), 0, length=length)
        sees = ObservationSet(["student"], env.get_observations(), "here")
        with Waits() as waits:
            play(env, sees, lambda seen_ns, _: -seen_ns[:, :2])
        return len(waits.found)

    assert 0 < waits_of(5) == waits_of(50)


@pytest.mark.parametrize(
    "wait",
    [
        lambda values: values[0].item(),
        lambda values: bool(values.any()),
        lambda values: values.nonzero(),
        lambda values: values[values > 0],
        lambda values: values.index_put_((values > 0,), torch.zeros(4)),
        lambda values: values + torch.tensor(1.0),
    ],
)
def test_what_makes_the_host_wait_is_found(wait):
    values = torch.ones(4)
    with Waits() as waits:
        wait(values)
    assert waits.found
