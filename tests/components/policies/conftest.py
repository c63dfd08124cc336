"""Small policies made of the real components, and batches made from their interface."""

import pytest
import torch
from torch import nn

from components.action_transforms.identity import Identity
from components.losses.l1 import L1
from components.losses.l2 import L2
from components.models.action_decoder import ActionDecoder
from components.models.action_head_gmm import ActionHeadGMM
from components.models.action_head_regression import ActionHeadRegression
from components.models.chunk_query_decoder import ChunkQueryDecoder
from components.models.cvae_encoder import CVAEEncoder
from components.models.embedding_decoder import EmbeddingDecoder
from components.models.flow import Flow
from components.models.gate import Gate
from components.models.gaussian_embedder import GaussianEmbedder
from components.models.latent_encoder import LatentEncoder
from components.models.latent_token import LatentToken
from components.models.mlp import MLP
from components.models.moe_action_decoder import MoEActionDecoder
from components.models.nsvq_codebook import NSVQCodebook
from components.models.state_encoder import StateEncoder
from components.policies.act import ACT
from components.policies.behavior_cloning import BehaviorCloning
from components.policies.cfg_vqvae_flow_matching import CFGVQVAEFlowMatching
from components.policies.diffusion_policy import DiffusionPolicy
from components.policies.mutual_information_estimator import MutualInformationEstimator
from components.policies.naive_flow_matching_policy import NaiveFlowMatchingPolicy
from components.policies.variational_flow_matching_policy import VariationalFlowMatchingPolicy
from components.policies.vfp_single_expert import VFPSingleExpert
from trainer.fake_data import FakeDataset
from trainer.interfaces import Interface, Progress
from trainer.normalization import AffineNormalizer
from trainer.schema import NormalizationConfig

INTERFACE = Interface(obs_steps=2, chunk=4, control_hz=20.0, state=5, action=3)


def _attach_normalizer(policy, interface):
    config = NormalizationConfig(state="none", action="none")
    policy.normalizer = AffineNormalizer(FakeDataset(interface).statistics(), config, Identity())
    return policy


def _make_denoiser(kind, interface, params):
    """Policies that share encoder and decoder, and differ in how noise becomes an action."""
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
    return _attach_normalizer(kind(components, interface, L2(), **params), interface)


def make_flow(interface=INTERFACE, **params):
    return _make_denoiser(NaiveFlowMatchingPolicy, interface, {"flow": Flow(**params)})


def make_diffusion(interface=INTERFACE, **params):
    return _make_denoiser(DiffusionPolicy, interface, params)


def make_act(interface=INTERFACE, decoder=None, **params):
    """``decoder`` replaces sizes of the action decoder."""
    torch.manual_seed(0)
    observer = StateEncoder(state=interface.state, obs_steps=interface.obs_steps, dim=32, hidden=32)
    chunk = {"chunk": interface.chunk, "action": interface.action}
    sizes = chunk | {"latent": 8, "dim": 32, "heads": 2, "feedforward": 64}
    depth = {"encoder_layers": 1, "decoder_layers": 2}
    components = nn.ModuleDict(
        {
            "observation_encoder": observer,
            "posterior": CVAEEncoder(state=interface.state, layers=1, **sizes),
            "action_decoder": ChunkQueryDecoder(**(sizes | depth | (decoder or {}))),
        }
    )
    return _attach_normalizer(ACT(components, interface, L1(), **params), interface)


def make_cloning(interface=INTERFACE, head=ActionHeadRegression, **params):
    torch.manual_seed(0)
    encoder = StateEncoder(state=interface.state, obs_steps=interface.obs_steps, dim=16, hidden=32)
    trunk = MLP(inputs=16 * interface.obs_steps, width=64, layers=2)
    action_head = head(features=64, chunk=interface.chunk, action=interface.action, **params)
    components = nn.ModuleDict(
        {"observation_encoder": encoder, "trunk": trunk, "action_head": action_head}
    )
    return _attach_normalizer(BehaviorCloning(components, interface, L2()), interface)


def _latent_encoders(interface, latent, prior_latent):
    sizes = {"memory_dim": 32, "dim": 32, "layers": 1, "heads": 2, "feedforward": 64}
    return {
        "posterior": LatentEncoder(
            latent=latent, chunk=interface.chunk, action=interface.action, **sizes
        ),
        "prior": LatentEncoder(latent=prior_latent, **sizes),
    }


def _decoder_sizes(interface):
    transformer = {"memory_dim": 32, "dim": 32, "layers": 2, "heads": 2, "feedforward": 64}
    return {"chunk": interface.chunk, "action": interface.action} | transformer


def make_single_expert(interface=INTERFACE):
    policy = make_flow(interface)
    return _attach_normalizer(VFPSingleExpert(policy.components, interface, L2()), interface)


def make_variational(interface=INTERFACE, experts=3, **params):
    torch.manual_seed(0)
    encoder = StateEncoder(state=interface.state, obs_steps=interface.obs_steps, dim=32, hidden=32)
    components = {
        "observation_encoder": encoder,
        **_latent_encoders(interface, 8, 8),
        "latent_token": LatentToken(latent=8, memory_dim=32, can_drop=False),
        "gate": Gate(features=8, experts=experts, top_k=min(2, experts)),
        "action_decoder": MoEActionDecoder(experts=experts, **_decoder_sizes(interface)),
    }
    return _attach_normalizer(
        VariationalFlowMatchingPolicy(nn.ModuleDict(components), interface, L2(), **params),
        interface,
    )


def make_guided(interface=INTERFACE, codes=4, **params):
    torch.manual_seed(0)
    encoder = StateEncoder(state=interface.state, obs_steps=interface.obs_steps, dim=32, hidden=32)
    components = {
        "observation_encoder": encoder,
        **_latent_encoders(interface, 8, codes),
        "codebook": NSVQCodebook(codes=codes, latent=8, replace_every=20),
        "latent_token": LatentToken(latent=8, memory_dim=32),
        "action_decoder": ActionDecoder(**_decoder_sizes(interface)),
    }
    return _attach_normalizer(
        CFGVQVAEFlowMatching(
            nn.ModuleDict(components), interface, L2(), **({"drop_steps": 1} | params)
        ),
        interface,
    )


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
    "single_expert": make_single_expert,
    "variational": make_variational,
    "guided": make_guided,
    "diffusion": make_diffusion,
    "act": make_act,
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
def diffusion():
    return make_diffusion


@pytest.fixture
def act():
    return make_act


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


class _Rows:
    """Copies nothing: this optimizer is thrown away."""

    def copy_rows(self, parameter, rows, source):
        return


@pytest.fixture
def fit():
    """Return a function that trains a policy on one batch."""

    def train(policy, batch, steps, lr=3e-3):
        optimizer = torch.optim.Adam(policy.parameters(), lr=lr)
        generator = torch.Generator().manual_seed(0)
        for step in range(steps):
            progress = Progress(step, steps, generator)
            optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
            optimizer.zero_grad()
            policy(batch, progress).loss.backward()
            optimizer.step()
            with torch.no_grad():
                policy.after_step(progress, _Rows())
        return policy.eval()

    return train
