import pytest
import torch
from transformers import (
    AutoConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
)

from components.models.depth_anything import DepthAnything
from trainer.errors import ConfigError

IMAGE = (3, 32, 32)


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
    return DepthAnything(model=str(folder), **(sizes | changes))


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
