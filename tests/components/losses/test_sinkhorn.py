import numpy as np
import ot
import torch

from components.losses.sinkhorn import sinkhorn


def clouds(count=12):
    rng = np.random.default_rng(0)
    predicted, target = (rng.normal(size=(count, 3, 2)).astype(np.float32) for _ in range(2))
    return predicted, target, rng.normal(size=(count, 4)).astype(np.float32)


def test_with_little_blur_it_is_the_cost_of_optimal_transport():
    predicted, target, state = clouds()
    actions = ot.dist(predicted.reshape(12, -1), target.reshape(12, -1))  # squared distances
    states = ot.dist(state, state)
    expected = ot.emd2(np.full(12, 1 / 12), np.full(12, 1 / 12), actions + 0.2 * states)
    given = map(torch.tensor, (predicted, target, state))
    exact = sinkhorn(*given, state_weight=0.2, blur=0.01, scaling=0.95)
    np.testing.assert_allclose(exact.item(), expected, rtol=5e-4)
    quick = sinkhorn(*map(torch.tensor, (predicted, target, state)), state_weight=0.2)
    np.testing.assert_allclose(quick.item(), expected, rtol=1e-2)


def test_it_is_nothing_between_a_cloud_and_itself_in_another_order():
    predicted, _, state = map(torch.tensor, clouds())
    assert abs(sinkhorn(predicted, predicted, state).item()) < 1e-4
    moved = sinkhorn(predicted.flip(0), predicted, torch.zeros_like(state))
    assert abs(moved.item()) < 1e-4


def test_its_gradient_pulls_predictions_to_their_targets():
    target = torch.tensor([[[0.0]], [[10.0]]])
    predicted = torch.tensor([[[9.0]], [[1.0]]], requires_grad=True)
    sinkhorn(predicted, target, torch.zeros(2, 1)).backward()
    assert predicted.grad.flatten().sign().tolist() == [-1, 1]  # to the nearer target each


def test_autocast_does_not_round_the_distances():
    predicted, target, state = map(torch.tensor, clouds())
    near = target + 0.01 * predicted
    expected = sinkhorn(near, target, state)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sinkhorn(near, target, state), expected)
