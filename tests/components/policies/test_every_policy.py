"""What holds for every policy, whatever its solver or head."""

import pytest
import torch
from torch import nn

from components.losses.l2 import L2
from components.models.latent_token import LatentToken
from components.policies.variational_flow_matching_policy import VariationalFlowMatchingPolicy
from tests.components.policies.conftest import INTERFACE, make_variational
from tests.support.host_reads import HostReads
from trainer.errors import ConfigError
from trainer.interfaces import ACTION, ACTION_IS_PAD, STATE, Progress


def progress(seed=0):
    return Progress(9, 10, torch.Generator().manual_seed(seed))


def test_every_trainable_parameter_gets_a_gradient(policy, batch):
    policy(batch, progress()).loss.backward()
    trainable = [(n, p) for n, p in policy.named_parameters() if p.requires_grad]
    assert [n for n, p in trainable if p.grad is None or not p.grad.any()] == []


def test_a_gpu_would_never_wait_for_the_host_in_a_train_step(policy, batch):
    with HostReads() as reads:
        policy(batch, progress()).loss.backward()
    # Sinkhorn's iterations, of which geomloss makes as many as the clouds' extent asks for.
    transport = isinstance(policy, VariationalFlowMatchingPolicy)
    assert reads.found == ["aten::_local_scalar_dense"] * transport


def test_every_parameter_and_buffer_lives_in_the_components(policy):
    names = {id(t) for t in policy.components.state_dict(keep_vars=True).values()}
    assert {id(p) for p in policy.parameters()} <= names


def test_loss_is_a_mean_over_the_valid_elements(policy, batch):
    output = policy(batch, progress())
    assert output.weight.item() == (~batch[ACTION_IS_PAD]).sum().item() * batch[ACTION].shape[-1]
    assert 0 < output.weight.item() < batch[ACTION].numel()
    flipped = batch | {ACTION_IS_PAD: ~batch[ACTION_IS_PAD]}
    assert policy(flipped, progress()).loss != output.loss


def test_what_stands_in_padded_steps_changes_nothing(policy, batch):
    if isinstance(policy, VariationalFlowMatchingPolicy):
        policy.weights["transport"] = 0.0  # it compares whole chunks, outside the network
    padded = batch[ACTION_IS_PAD][..., None]
    assert padded.any()
    other = batch | {ACTION: torch.where(padded, batch[ACTION] + 3.0, batch[ACTION])}
    assert torch.equal(policy(batch, progress()).loss, policy(other, progress()).loss)


def test_terms_without_noise_are_the_same_however_samples_are_dealt_out(policy, batch):
    rows = (torch.arange(4), torch.arange(4, 8))  # of which the second ones are padded
    whole, *parts = (
        policy({key: value[each] for key, value in batch.items()}, progress())
        for each in (torch.arange(8), *rows)
    )
    assert parts[0].weight > parts[1].weight
    for name in {"prior", "commitment"} & set(whole.metrics):
        dealt = sum(p.weight * p.metrics[name] for p in parts) / whole.weight
        torch.testing.assert_close(dealt, whole.metrics[name], rtol=1e-5, atol=1e-6)


def test_randomness_comes_from_the_given_generators_alone(policy, batch, generators):
    before = torch.get_rng_state()
    losses = [policy(batch, progress(seed=5)).loss for _ in range(2)]
    actions = [policy.predict_action(batch, {}, generators(8))[0] for _ in range(2)]
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(actions[0], actions[1])
    assert torch.equal(torch.get_rng_state(), before)


def test_chunk_has_the_interfaces_shape_and_no_memory_is_kept(policy, batch, generators):
    state = policy.initial_state(8)
    action, new_state = policy.predict_action({STATE: batch[STATE]}, state, generators(8))
    assert action.shape == batch[ACTION].shape
    assert action.dtype == torch.float32
    assert state == new_state == {}


@pytest.mark.parametrize("batch_size", [1, 16])
def test_a_rows_action_does_not_depend_on_the_other_rows(policy, batch_size, generators):
    noise = torch.Generator().manual_seed(0)
    observation = torch.randn(batch_size, 2, 5, generator=noise)
    with torch.inference_mode():
        action, _ = policy.predict_action({STATE: observation}, {}, generators(batch_size))
        for row in {0, batch_size // 2, batch_size - 1}:
            others = 3 * torch.randn(batch_size, 2, 5, generator=noise)
            others[row] = observation[row]
            strangers = generators(batch_size, seed=1000)
            strangers[row] = generators(batch_size)[row]
            again, _ = policy.predict_action({STATE: others}, {}, strangers)
            assert torch.equal(again[row], action[row])
            assert batch_size == 1 or not torch.equal(again[row - 1], action[row - 1])


def test_one_batch_is_learnt_by_heart(policy, batch, generators, fit):
    batch = {key: value[:4] for key, value in batch.items()}
    valid = ~batch[ACTION_IS_PAD]

    def error():
        with torch.inference_mode():
            action, _ = policy.predict_action(batch, {}, generators(4, seed=7))
        return (action - batch[ACTION])[valid].square().mean().item()

    before = error()
    fit(policy, batch, steps=400)
    assert error() < before / 20


def test_a_latent_token_that_nothing_drops_must_not_be_learnt():
    policy = make_variational()
    components = dict(policy.components.items())
    components["latent_token"] = LatentToken(latent=8, memory_dim=32)
    with pytest.raises(ConfigError, match=r"latent_token\.can_drop"):
        VariationalFlowMatchingPolicy(nn.ModuleDict(components), INTERFACE, L2())
