import pytest
import torch

from components.models.recurrent_trunk import RecurrentTrunk


@pytest.fixture(params=["gru", "lstm"])
def trunk(request):
    torch.manual_seed(0)
    return RecurrentTrunk(kind=request.param, inputs=3, features=5, layers=2)


def one_by_one(trunk, x_bli, state, begins_bl):
    """The same network, a step and a row at a time."""
    rows = []
    for row in range(len(x_bli)):
        memory = {name: value[row : row + 1] for name, value in state.items()}
        features = []
        for step in range(x_bli.shape[1]):
            if begins_bl[row, step]:
                memory = trunk.initial_state(1)
            after, memory = trunk(x_bli[row : row + 1, step : step + 1], memory)
            features.append(after[0, 0])
        rows.append(torch.stack(features))
    return torch.stack(rows)


def test_an_episode_that_begins_in_a_window_remembers_nothing_from_before(trunk):
    x = torch.randn(4, 7, 3)
    state = {name: torch.randn(4, 2, 5) for name in trunk.initial_state(1)}
    begins = torch.zeros(4, 7, dtype=torch.bool)
    begins[0, 0] = begins[1, 3] = begins[2, 3] = begins[2, 6] = True
    features, _ = trunk(x, state, begins)
    torch.testing.assert_close(features, one_by_one(trunk, x, state, begins), atol=1e-6, rtol=0)


def test_the_memory_after_a_window_continues_it(trunk):
    x, state = torch.randn(2, 6, 3), trunk.initial_state(2)
    nowhere = torch.zeros(2, 6, dtype=torch.bool)
    whole, last = trunk(x, state, nowhere)
    first, memory = trunk(x[:, :4], state, nowhere[:, :4])
    second, after = trunk(x[:, 4:], memory, nowhere[:, 4:])
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    for name, value in last.items():
        torch.testing.assert_close(after[name], value)
        assert value.shape == (2, 2, 5)


def test_no_gradient_crosses_the_beginning_of_an_episode(trunk):
    x = torch.randn(1, 5, 3, requires_grad=True)
    begins = torch.tensor([[False, False, True, False, False]])
    features, _ = trunk(x, trunk.initial_state(1), begins)
    features[0, 4].sum().backward()
    assert x.grad is not None
    assert (x.grad[0, :2] == 0).all()
    assert (x.grad[0, 2:] != 0).any(dim=1).all()
