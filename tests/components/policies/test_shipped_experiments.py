"""Every shipped experiment, at its own sizes, on data made from its own interface."""

from pathlib import Path

import pytest
import torch

from trainer.build import build_run, load_experiment
from trainer.fake_data import FakeDataset
from trainer.interfaces import Batch, Policy, Progress, Scorer

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "experiment_training" / "imitation_learning").glob("*/exp*/*.yaml"))


@pytest.fixture(scope="module", params=SHIPPED, ids=lambda path: "/".join(path.parts[-3:-1]))
def run(request):
    experiment = load_experiment(request.param)
    data = FakeDataset(experiment.config.interface.to_interface(), episode_length=20)
    return build_run(experiment, dataset=data)


def generators(rows: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + row) for row in range(rows)]


def act(policy: Policy, batch: Batch, noise: list[torch.Generator]) -> torch.Tensor:
    with torch.inference_mode():
        return policy.predict_action(batch, policy.initial_state(len(noise)), noise)[0]


def test_every_trainable_parameter_gets_a_gradient(run):
    batch = run.dataset.__getitems__(range(8))
    late = Progress(100_000, 200_000, torch.Generator().manual_seed(0))
    run.policy(batch, late).loss.backward()
    trainable = [(n, p) for n, p in run.policy.named_parameters() if p.requires_grad]
    assert trainable
    assert [n for n, p in trainable if p.grad is None or not p.grad.any()] == []


def test_a_rows_action_does_not_depend_on_the_other_rows(run):
    if isinstance(run.policy, Scorer):
        pytest.skip("it scores, it does not act")
    rows = 16
    policy = run.policy.eval()
    if hasattr(policy, "flow"):
        policy.flow = policy.flow.model_copy(
            update={"num_steps": 1}
        )  # all integration steps go through the same network
    batch = run.dataset.__getitems__(range(rows))
    action = act(policy, batch, generators(rows))
    row = rows // 2
    strangers = run.dataset.__getitems__(range(40, 40 + rows))
    mixed = {key: value.clone() for key, value in strangers.items()}
    for key, value in mixed.items():
        value[row] = batch[key][row]
    noise = generators(rows, seed=1000)
    noise[row] = generators(rows)[row]
    assert torch.equal(act(policy, mixed, noise)[row], action[row])
