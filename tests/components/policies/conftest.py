"""Small policies made of the real components, and batches made from their interface."""

import pytest
import torch
from torch import nn

from components.action_transforms.identity import Identity
from components.losses.l2 import L2
from components.models.action_decoder import ActionDecoder
from components.models.action_head_gmm import ActionHeadGMM
from components.models.action_head_regression import ActionHeadRegression
from components.models.embedding_decoder import EmbeddingDecoder
from components.models.gaussian_embedder import GaussianEmbedder
from components.models.mlp import MLP
from components.models.state_encoder import StateEncoder
from components.policies.behavior_cloning import BehaviorCloning
from components.policies.mutual_information_estimator import MutualInformationEstimator
from components.policies.naive_flow_matching_policy import NaiveFlowMatchingPolicy
from trainer.fake_data import FakeDataset
from trainer.interfaces import Interface, Progress
from trainer.normalization import AffineNormalizer
from trainer.schema import NormalizationConfig

INTERFACE = Interface(obs_steps=2, chunk=4, control_hz=20.0, state=5, action=3)


def _attach_normalizer(policy, interface):
    config = NormalizationConfig(state="none", action="none")
    policy.normalizer = AffineNormalizer(FakeDataset(interface).statistics(), config, Identity())
    return policy


def make_flow(interface=INTERFACE, **params):
    torch.manual_seed(0)
    encoder = StateEncoder(state=interface.state, obs_steps=interface.obs_steps, dim=32, hidden=32)
    decoder = ActionDecoder(
        chunk=interface.chunk,
        action=interface.action,
        memory_dim=32,
        dim=32,
        layers=2,
        heads=2,
        feedforward=64,
    )
    components = nn.ModuleDict({"observation_encoder": encoder, "action_decoder": decoder})
    return _attach_normalizer(
        NaiveFlowMatchingPolicy(components, interface, L2(), **params), interface
    )


def make_cloning(interface=INTERFACE, head=ActionHeadRegression, **params):
    torch.manual_seed(0)
    encoder = StateEncoder(state=interface.state, obs_steps=interface.obs_steps, dim=16, hidden=32)
    trunk = MLP(inputs=16 * interface.obs_steps, width=64, layers=2)
    action_head = head(features=64, chunk=interface.chunk, action=interface.action, **params)
    components = nn.ModuleDict(
        {"observation_encoder": encoder, "trunk": trunk, "action_head": action_head}
    )
    return _attach_normalizer(BehaviorCloning(components, interface, L2()), interface)


def make_estimator(interface=INTERFACE, latent=4, **params):
    torch.manual_seed(0)
    tokens, chunk = [interface.obs_steps, 16], [interface.chunk, interface.action]
    sizes = {"latent": latent, "width": 64, "layers": 2}
    components = {
        "observation_encoder": StateEncoder(
            state=interface.state, obs_steps=interface.obs_steps, dim=16, hidden=32
        ),
        "observation_embedder": GaussianEmbedder(inputs=tokens, **sizes),
        "state_decoder": EmbeddingDecoder(outputs=[interface.obs_steps, interface.state], **sizes),
        "chunk_embedder": GaussianEmbedder(inputs=chunk, **sizes),
        "chunk_decoder": EmbeddingDecoder(outputs=chunk, **sizes),
    }
    policy = MutualInformationEstimator(nn.ModuleDict(components), interface, L2(), **params)
    return _attach_normalizer(policy, interface)


MAKERS = {
    "flow_euler": lambda: make_flow(solver="euler", num_steps=10),
    "flow_midpoint": lambda: make_flow(solver="midpoint", num_steps=3),
    "flow_dopri5": lambda: make_flow(solver="dopri5", tolerance=1e-3),
    "cloning_regression": make_cloning,
    "cloning_gmm": lambda: make_cloning(head=ActionHeadGMM, modes=3),
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS.keys())
def policy(request):
    return request.param()


@pytest.fixture
def flow():
    return make_flow


@pytest.fixture
def cloning():
    return make_cloning


@pytest.fixture
def estimator():
    return make_estimator


@pytest.fixture
def batch():
    """Eight samples, of which the last ones are padded."""
    return FakeDataset(INTERFACE, episode_length=10).__getitems__(range(2, 10))


@pytest.fixture
def generators():
    """Return a function that makes one seeded generator a row."""
    return lambda rows, seed=0: [torch.Generator().manual_seed(seed + row) for row in range(rows)]


@pytest.fixture
def fit():
    """Return a function that trains a policy on one batch."""

    def train(policy, batch, steps, lr=3e-3):
        optimizer = torch.optim.Adam(policy.parameters(), lr=lr)
        generator = torch.Generator().manual_seed(0)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
            optimizer.zero_grad()
            policy(batch, Progress(step, steps, generator)).loss.backward()
            optimizer.step()
        return policy.eval()

    return train
