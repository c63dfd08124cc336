import os
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from data_collection.envs.gymnasium_env import GymnasiumEnv
from data_collection.teachers import teachers
from data_collection.teachers.rsl_rl_actor import RslRlActor
from trainer.environment import STATE
from trainer.errors import CheckpointError, ConfigError

RNG = np.random.default_rng(0)
OBSERVATION = torch.linspace(-2, 2, 11)


@pytest.fixture
def actor():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(11, 16), nn.ELU(), nn.Linear(16, 8), nn.ELU(), nn.Linear(8, 3))


def named(prefix, module):
    return {f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()}


def moments(prefix=""):
    torch.manual_seed(2)
    mean, std = torch.randn(1, 11), torch.rand(1, 11) + 0.5
    return {
        f"{prefix}_mean": mean,
        f"{prefix}_var": std**2,
        f"{prefix}_std": std,
        f"{prefix}count": torch.tensor(5),
    }


def normalized(observation):
    own = moments()
    return (observation - own["_mean"][0]) / (own["_std"][0] + 1e-2)


def checkpoint_of(version, actor):
    """What RSL-RL's runner saves, by major version."""
    common = {"optimizer_state_dict": {"state": {}}, "iter": 1499, "infos": None}
    old = named("actor.", actor) | named("critic.", nn.Linear(11, 1)) | {"std": torch.ones(3)}
    if version == 1:
        return common | {"model_state_dict": old}
    if version == 2:
        return common | {"model_state_dict": old, "obs_norm_state_dict": moments()}
    if version == 3:
        return common | {"model_state_dict": old | moments("actor_obs_normalizer.")}
    new = named("mlp.", actor) | {"distribution.std_param": torch.ones(3)}
    return common | {"actor_state_dict": new | moments("obs_normalizer.")}


@pytest.mark.parametrize("version", [1, 2, 3, 5])
def test_it_acts_with_the_mean_of_the_actor(tmp_path, actor, version):
    torch.save(checkpoint_of(version, actor), tmp_path / "model_1499.pt")
    teacher = RslRlActor(tmp_path, path="model_1499.pt")
    action = teacher.act(GymnasiumEnv(id="Hopper-v5"), {STATE: OBSERVATION.numpy()}, RNG)
    expected = actor(OBSERVATION if version == 1 else normalized(OBSERVATION))
    np.testing.assert_allclose(action, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert action.dtype == np.float32
    assert len(teacher.checkpoint) == 64


def test_the_activation_is_told(tmp_path, actor):
    torch.save(checkpoint_of(1, actor), tmp_path / "m.pt")
    teacher = RslRlActor(tmp_path, path="m.pt", activation="tanh")
    tanh = nn.Sequential(actor[0], nn.Tanh(), actor[2], nn.Tanh(), actor[4])
    action = teacher.act(GymnasiumEnv(id="Hopper-v5"), {STATE: OBSERVATION.numpy()}, RNG)
    np.testing.assert_allclose(action, tanh(OBSERVATION).detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"iter": 3}, "model_state_dict.*it holds iter"),
        ({"model_state_dict": {"critic.0.weight": torch.ones(1, 1)}}, r"no actor\.0\.weight"),
        ({"actor_state_dict": {"rnn.rnn.weight_ih_l0": torch.ones(4, 1)}}, "it is recurrent"),
        ({"actor_state_dict": 3}, "expected an RSL-RL checkpoint"),
        ([1, 2], "expected a dictionary, got list"),
    ],
)
def test_other_checkpoints_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=message):
        RslRlActor(tmp_path, path="m.pt")


def test_a_hostile_checkpoint_is_refused_and_executes_nothing(tmp_path):
    class Runs:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"model_state_dict": Runs()}, tmp_path / "m.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Runs(), protocol=2))
    for name in ("m.pt", "old.pt"):
        with pytest.raises(CheckpointError, match="not a checkpoint of plain tensors"):
            RslRlActor(tmp_path, path=name)
    assert not (tmp_path / "ran").exists()


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nobody\.pt: cannot be read"):
        RslRlActor(tmp_path, path="nobody.pt")


def test_the_environment_of_another_actor_is_refused(tmp_path, actor):
    torch.save(checkpoint_of(5, actor), tmp_path / "m.pt")
    environment = GymnasiumEnv(id="HalfCheetah-v5")
    with pytest.raises(ConfigError, match="takes a state of 11 numbers"):
        RslRlActor(tmp_path, path="m.pt").act(environment, environment.reset(0), RNG)
    assert teachers.get("rsl_rl_actor") is RslRlActor
