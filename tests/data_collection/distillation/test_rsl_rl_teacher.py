"""Actors of RSL-RL's PPO, as teachers of many environments at once."""

import pytest
import torch
from torch import nn

from data_collection.distillation.teachers.rsl_rl_actor import RslRlActor


def checkpoint(folder, activation):
    """Write an actor with two hidden layers and a normaliser; return what it computes."""
    torch.manual_seed(1)
    actor = nn.Sequential(
        nn.Linear(5, 16), activation(), nn.Linear(16, 8), activation(), nn.Linear(8, 2)
    )
    mean, std = torch.randn(1, 5), torch.rand(1, 5) + 0.5
    tensors = {f"mlp.{name}": tensor for name, tensor in actor.state_dict().items()}
    tensors |= {"obs_normalizer._mean": mean, "obs_normalizer._std": std}
    torch.save({"actor_state_dict": tensors}, folder / "model_1499.pt")
    return lambda seen: actor((seen - mean) / (std + 1e-2)).detach()


@pytest.mark.parametrize(
    ("name", "activation"), [("elu", nn.ELU), ("tanh", nn.Tanh), ("relu", nn.ReLU)]
)
def test_it_acts_with_the_mean_of_the_actor_its_normaliser_included(tmp_path, name, activation):
    actor = checkpoint(tmp_path, activation)
    teacher = RslRlActor(tmp_path, torch.device("cpu"), path="model_1499.pt", activation=name)
    assert (teacher.observation_size, teacher.num_actions) == (5, 2)
    seen = 3 * torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    before = seen.clone()
    torch.testing.assert_close(teacher(seen), actor(before), atol=1e-5, rtol=1e-4)
    assert torch.equal(seen, before)  # the hidden layers work in place, not on what it is given
