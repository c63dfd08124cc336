"""The camera experiments end to end: a recorded round, training, resuming, acting."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from data_collection.episodes import EpisodeAttributes, RoundWriter, seal, write_episode
from tests.support.toy import equal_bits
from trainer.acting import load_policy
from trainer.build import build_run, load_experiment
from trainer.checkpoint import open_checkpoint
from trainer.distributed import Ranks
from trainer.errors import ConfigError
from trainer.fake_data import FakeDataset
from trainer.interfaces import DEPTH_PREFIX, IMAGE_PREFIX, STATE, Progress
from trainer.resume import started_run

ROOT = Path(__file__).parents[3]
EXPERIMENTS = ROOT / "experiment_training/imitation_learning"
NAIVE = "naive_flow_matching_policy"


def smaller(**components: str) -> tuple[str, ...]:
    """Return overrides of components' sizes."""
    return tuple(f"model.component_build_args.{name}={{{c}}}" for name, c in components.items())


SMALL = "memory_dim: 32, dim: 32, heads: 2, layers: 1, feedforward: 64"
RESNETS = smaller(**{f"backbone_{c}": "model: test_resnet" for c in ("head", "left", "right")})
DECODER = smaller(action_decoder=f"{SMALL}, steps_per_token: 1")
EMBEDDER = smaller(
    observation_encoder="dim: 32, hidden: 32, image_token_dim: 96, heads: 2, layers: 1, "
    "feedforward: 64"
)
LATENTS = smaller(
    posterior=f"{SMALL}, latent: 16",
    prior=f"{SMALL}, latent: 16",
    latent_token="latent: 16, memory_dim: 32",
    gate="features: 16",
)
FLOW_ON_RESNETS = (
    *RESNETS,
    *smaller(observation_encoder="dim: 32, hidden: 32, image_token_dim: 96"),
    *DECODER,
)
OVERRIDES = {
    f"{NAIVE}/exp1": FLOW_ON_RESNETS,
    f"{NAIVE}/exp2": (*FLOW_ON_RESNETS, "model.component_optims={backbone_left: {freeze: true}}"),
    f"{NAIVE}/exp5": (
        *smaller(observation_encoder="dim: 32, hidden: 32, image_token_dim: 384"),
        *DECODER,
    ),
    "diffusion_policy/exp1": FLOW_ON_RESNETS,
    "act/exp1": (
        *RESNETS,
        *smaller(
            observation_encoder="dim: 32, hidden: 32, image_token_dim: 96",
            posterior="dim: 32, heads: 2, layers: 1, feedforward: 64",
            action_decoder="dim: 32, heads: 2, encoder_layers: 1, decoder_layers: 1, "
            "feedforward: 64",
        ),
    ),
    "vfp_single_expert/exp1": (*RESNETS, *EMBEDDER, *DECODER),
    "vfp_single_expert/exp2": (
        *RESNETS,
        *EMBEDDER,
        *DECODER,
        *smaller(depth_stream="token_dim: 96, hidden: 32"),
    ),
    "variational_flow_matching_policy/exp1": (*RESNETS, *EMBEDDER, *DECODER, *LATENTS),
    "variational_flow_matching_policy/exp2": (*RESNETS, *EMBEDDER, *DECODER, *LATENTS),
    "cfg_vqvae_flow_matching/exp1": (
        *RESNETS,
        *EMBEDDER,
        *DECODER,
        *smaller(
            posterior=f"{SMALL}, latent: 16",
            prior=SMALL,
            latent_token="latent: 16, memory_dim: 32",
            codebook="latent: 16, replace_every: 3",
        ),
    ),
}
IN_1200_STEPS = {
    "cfg_vqvae_flow_matching/exp1": (
        "policy.params.drop_steps=120",
        "policy.params.target_decay=0.83",
        *smaller(codebook="latent: 16, replace_every: 3, replace_until: 120"),
    ),
}
"""What takes a share of an experiment's 200,000 steps, as the same share of so many."""


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    """Return a function that gives a folder with a round of random pictures of a size."""
    rng = np.random.default_rng(0)

    def record(pixels):
        folder = tmp_path_factory.mktemp(f"data_{pixels}") / "round_000"
        writer = RoundWriter(folder, "environment: {type: none, params: {}}\n")
        for number in range(2):
            steps = 45
            state = rng.normal(size=(steps, 8)).astype(np.float32)
            action = rng.normal(size=(steps, 4)).astype(np.float32)
            arrays = {
                "observation.state": state,
                "action": action,
                "executed_action": action,
                "action_valid": np.ones(steps, bool),
                "actor": np.zeros(steps, np.uint8),
                "reward": np.zeros(steps, np.float32),
                "terminated": np.zeros(steps, bool),
                "truncated": np.zeros(steps, bool),
            } | {
                IMAGE_PREFIX + camera: rng.integers(
                    0, 256, (steps, 3, pixels, pixels), dtype=np.uint8
                )
                for camera in ("head", "left", "right")
            }
            depth = rng.uniform(0.5, 2.0, (steps, 1, pixels, pixels))
            arrays[DEPTH_PREFIX + "head"] = depth.astype(np.float16)
            attributes = EpisodeAttributes(seed=number, success=True)
            writer.enter(write_episode(folder, f"r{number}", arrays, attributes))
        seal(folder)
        return folder.parent

    return {pixels: record(pixels) for pixels in (64, 96)}


@pytest.fixture(scope="module", params=OVERRIDES)
def train(request, rounds, tmp_path_factory):
    """Return a function that trains the experiment, made small, and returns its folder."""
    policy, _, exp = request.param.partition("/")
    pixels = 64 if exp == "exp5" else 96
    folder = tmp_path_factory.mktemp(exp)
    overrides = [
        *OVERRIDES[request.param],
        f"data.dataset.params.rounds=[{rounds[pixels]}]",
        "data.batch_size=4",
        "train.steps=10",  # schedule-free RAdam moves nothing in its first five
        "train.save_every=5",
        "train.precision=fp32",
        "train.checkpoints={}",
        "evaluation=null",
        "logging=[]",
    ]

    def run(name, resume="auto"):
        path = EXPERIMENTS / request.param / f"{policy}.yaml"
        experiment = load_experiment(path, [*overrides, f"train.save_dir={folder / name}"])
        with started_run(experiment, Ranks(0, 1, torch.device("cpu")), resume) as loop:
            loop.train()
        return folder / name

    return run


@pytest.fixture(scope="module")
def whole(train):
    return train("whole")


def weights(checkpoint):
    return {
        path.name: torch.load(path, weights_only=True) for path in sorted(checkpoint.glob("*.pt"))
    }


def differing(first, second):
    return {name for name in first if not equal_bits(first[name], second[name])}


def test_every_component_that_is_not_frozen_learns(whole, request):
    before, after = weights(whole / "epoch_1"), weights(whole / "epoch_2")
    frozen = (
        {"backbone_left.pt"} if request.node.callspec.params["train"] == f"{NAIVE}/exp2" else set()
    )
    assert {"backbone_head.pt", "backbone_left.pt", "backbone_right.pt"} < before.keys()
    assert differing(before, after) == before.keys() - frozen


def test_a_resumed_run_ends_with_the_same_bits(train, whole):
    resumed = train("resumed", resume=str(whole / "epoch_1"))
    assert differing(weights(whole / "epoch_2"), weights(resumed / "epoch_2")) == set()


def test_the_checkpoint_alone_acts_on_pictures(whole):
    saved = load_policy(open_checkpoint(whole / "epoch_2"), torch.device("cpu"))
    cameras = saved.config.interface.cameras
    observation = {
        IMAGE_PREFIX + name: torch.zeros(2, 1, *shape, dtype=torch.uint8)
        for name, shape in cameras.items()
    } | {STATE: torch.zeros(2, 1, 8)}
    generators = [torch.Generator().manual_seed(i) for i in range(2)]
    action, _ = saved.policy.predict_action(observation, {}, generators)
    assert action.shape == (2, saved.config.interface.chunk, 4)
    assert action.isfinite().all()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", [name for name in OVERRIDES if "/exp5" not in name])
def test_the_loss_of_one_batch_of_eight_falls_twentyfold(name, fit):
    path = EXPERIMENTS / name / f"{name.partition('/')[0]}.yaml"
    # Short chunks: what is tested is the way from pictures to actions, not patience.
    overrides = [
        *OVERRIDES[name],
        "interface.chunk=4",
        "evaluation=null",
        *IN_1200_STEPS.get(name, ()),
    ]
    experiment = load_experiment(path, overrides)
    data = FakeDataset(experiment.config.interface.to_interface(), episode_length=100)
    policy = build_run(experiment, dataset=data).policy
    batch = data.__getitems__(range(8))

    def loss():
        noise = torch.Generator().manual_seed(1)
        late = Progress(10**6, 2 * 10**6, noise)
        with torch.no_grad():
            return sum(policy.eval()(batch, late).loss.item() for _ in range(20))

    before = loss()
    fit(policy.train(), batch, steps=1200)
    assert loss() < before / 20


def test_pretrained_weights_are_loaded_at_the_start_of_a_run_alone(tmp_path):
    path = tmp_path / "weights.safetensors"
    torch.manual_seed(5)
    save_file(timm.create_model("test_resnet").state_dict(), path)
    start = [
        f"model.component_build_args.backbone_head={{model: test_resnet, weights: {path}, "
        "batch_norm: frozen}",
        *FLOW_ON_RESNETS[1:],
    ]
    experiment = load_experiment(EXPERIMENTS / NAIVE / "exp1" / f"{NAIVE}.yaml", start)
    data = FakeDataset(experiment.config.interface.to_interface())

    head = build_run(experiment, dataset=data).policy.components["backbone_head"].state_dict()
    saved = {n: v for n, v in load_file(path).items() if not n.startswith("fc.")}
    assert [n for n, value in saved.items() if not torch.equal(head[f"model.{n}"], value)] == []

    path.unlink()
    build_run(experiment, data.statistics(), data)  # as when a run resumes
    with pytest.raises(ConfigError, match=r"params: weights: there is no file .*weights\.safet"):
        build_run(experiment, dataset=data)


def test_depth_that_is_wanted_and_not_delivered_is_named_before_training(rounds):
    path = EXPERIMENTS / "vfp_single_expert" / "exp2" / "vfp_single_expert.yaml"
    overrides = [
        *OVERRIDES["vfp_single_expert/exp2"],
        f"data.dataset.params.rounds=[{rounds[96]}]",
        "data.dataset.params.depth=[]",
    ]
    experiment = load_experiment(path, overrides)
    with pytest.raises(ConfigError, match=r"also learns from observation\.depth\.head, .*depth: "):
        build_run(experiment)
