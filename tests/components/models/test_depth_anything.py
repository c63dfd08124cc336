import shutil
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
)

from components.models.depth_anything import DepthAnything
from tests.support.toy import equal_bits
from trainer.acting import load_policy
from trainer.build import load_experiment
from trainer.checkpoint import resolve_checkpoint
from trainer.distributed import Ranks
from trainer.errors import ConfigError
from trainer.fake_data import FakeDataset
from trainer.resume import started_run

IMAGE = (3, 32, 32)
ROOT = Path(__file__).parents[3]
EXPERIMENT = ROOT / (
    "experiment_training/imitation_learning/vfp_single_expert/exp2/vfp_single_expert.yaml"
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A tiny model in a folder, with random weights."""
    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    folder = tmp_path_factory.mktemp("depth_anything")
    model = DepthAnythingForDepthEstimation(config)
    model.save_pretrained(folder)
    return folder


def make(folder, **changes):
    sizes = {"camera": "head", "image": IMAGE, "size": 28, "tokens": 5, "token_dim": 12}
    return DepthAnything(Path("/"), model=str(folder), **(sizes | changes))


def test_it_looks_at_the_picture_with_the_published_weights(published):
    stream = make(published)
    stream.load_pretrained()
    reference = DepthAnythingForDepthEstimation.from_pretrained(published)
    for name, value in reference.state_dict().items():
        assert torch.equal(stream.model.state_dict()[name], value)
    pictures = torch.randint(0, 256, (2, *IMAGE), dtype=torch.uint8)
    view = stream(pictures, torch.zeros(2, 5, 12))
    assert view.depth_n1hw is None
    assert view.tokens_ntd.shape == (2, 5, 12)
    assert not torch.allclose(view.tokens_ntd[0], view.tokens_ntd[1])
    with torch.no_grad():  # the features are those from which the model reads its depth
        pixels = stream.input(pictures)
        fused = stream.model.neck(list(stream.model.backbone(pixels).feature_maps), 2, 2)
        depth = stream.model.head(fused, 2, 2)
        torch.testing.assert_close(depth, reference(pixels).predicted_depth)


def test_a_relative_folder_lies_below_the_project_root(published):
    sizes = {"camera": "head", "image": IMAGE, "size": 28, "tokens": 5, "token_dim": 12}
    stream = DepthAnything(published.parent, model=published.name, **sizes)
    stream.load_pretrained()
    reference = DepthAnythingForDepthEstimation.from_pretrained(published)
    assert equal_bits(stream.model.state_dict(), reference.state_dict())


def test_a_checkpoint_acts_where_the_model_cannot_be_had(published, tmp_path):
    folder = shutil.copytree(published, tmp_path / "depth_anything")
    small = {
        "depth_stream": f"model: {folder}, size: 28, token_dim: 96",
        "observation_encoder": "dim: 32, hidden: 32, image_token_dim: 96, heads: 2, layers: 1, "
        "feedforward: 64",
        "action_decoder": "memory_dim: 32, dim: 32, heads: 2, layers: 1, feedforward: 64",
    } | {f"backbone_{camera}": "model: test_resnet" for camera in ("head", "left", "right")}
    overrides = [
        "model.component_config_paths.depth_stream="
        "experiment_models/vfp_single_expert/exp2/depth_anything.yaml",
        *(f"model.component_build_args.{name}={{{sizes}}}" for name, sizes in small.items()),
        f"train.save_dir={tmp_path / 'run'}",
        "train.steps=1",
        "train.save_every=1",
        "train.precision=fp32",
        "data.batch_size=2",
        "evaluation=null",
        "logging=[]",
    ]
    experiment = load_experiment(EXPERIMENT, overrides)
    data = FakeDataset(experiment.config.interface.to_interface())
    with started_run(experiment, Ranks(0, 1, CPU), "never", data) as loop:
        loop.train()
    trained = loop.policy.components["depth_stream"]
    shutil.rmtree(folder)
    saved = load_policy(resolve_checkpoint(tmp_path / "run"), CPU)
    stream = saved.policy.components["depth_stream"]
    assert equal_bits(stream.model.state_dict(), trained.model.state_dict())
    action, _ = saved.policy.predict_action(data.__getitems__([0]), {}, [torch.Generator()])
    assert action.isfinite().all()


def test_only_the_projection_learns(published):
    stream = make(published)
    names = [name for name, p in stream.named_parameters() if p.requires_grad]
    assert names == ["project.weight", "project.bias"]
    stream.train()
    pictures = torch.randint(0, 256, (1, *IMAGE), dtype=torch.uint8)
    stream(pictures, torch.zeros(1, 5, 12)).tokens_ntd.sum().backward()
    assert stream.project.weight.grad.any()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"size": 30}, "a multiple of the patches' 14 pixels, got 30"),
        ({"tokens": 6}, "one summary and a square, got 6"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(published, change, complaint):
    with pytest.raises(ConfigError, match=complaint):
        make(published, **change)


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="neither a folder here nor to be had"):
        make(tmp_path / "nowhere")


def test_another_kind_of_model_is_refused(tmp_path):
    AutoConfig.for_model("dinov2").save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="is a dinov2, not a Depth Anything model"):
        make(tmp_path)
