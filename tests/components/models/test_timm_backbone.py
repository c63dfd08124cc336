import pickle

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from components.models.timm_backbone import TimmBackbone
from trainer.errors import ConfigError

SIZE = 64


def make(tmp_path, model, image=(3, SIZE, SIZE), **params):
    torch.manual_seed(0)
    return TimmBackbone(tmp_path, model=model, image=image, **params)


def pictures(count=3, size=SIZE):
    generator = torch.Generator().manual_seed(1)
    shape = (count, 3, size, size)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


KINDS = {
    "test_resnet": 1 + 2 * 2,  # a convolutional network: strides of 32
    "test_vit": 1 + 4 * 4,  # a vision transformer with a class token
    "test_vit2": 1 + 4 * 4,  # one with registers
    "test_mambaout": 1 + 2 * 2,  # channels last, and a head that changes the width
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_gives_a_summary_and_its_positions(tmp_path, name):
    backbone = make(tmp_path, name).eval()
    with torch.no_grad():
        tokens = backbone(pictures())
        features = backbone.model.forward_features(backbone.input(pictures()))
        pooled = backbone.model.forward_head(features, pre_logits=True)
    assert tokens.shape == (3, backbone.tokens, backbone.token_dim)
    assert backbone.tokens == KINDS[name]
    if name == "test_mambaout":
        positions, pooled = features.flatten(1, 2), features.mean(dim=(1, 2))
    elif "vit" in name:
        positions = features[:, backbone.model.num_prefix_tokens :]
    else:
        positions = features.flatten(2).mT
    torch.testing.assert_close(tokens[:, 0], pooled)
    torch.testing.assert_close(tokens[:, 1:], positions)


@pytest.mark.parametrize("name", KINDS)
def test_every_trainable_parameter_gets_a_gradient(tmp_path, name):
    backbone = make(tmp_path, name)
    tokens = backbone(pictures())
    (tokens * torch.randn(tokens.shape)).sum().backward()
    trainable = [(n, p) for n, p in backbone.named_parameters() if p.requires_grad]
    assert len(trainable) > 5
    assert [n for n, p in trainable if p.grad is None or not p.grad.any()] == []


def test_group_normalisation_makes_a_picture_independent_of_its_batch(tmp_path):
    backbone = make(tmp_path, "test_resnet").train()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
    torch.testing.assert_close(backbone(pictures())[1:2], backbone(pictures()[1:2]))


@pytest.mark.parametrize(("batch_norm", "changes"), [("frozen", False), ("train", True)])
def test_batch_statistics_move_only_where_asked_for(tmp_path, batch_norm, changes):
    backbone = make(tmp_path, "test_resnet", batch_norm=batch_norm).train()
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    assert before
    backbone(pictures())
    moved = any(not torch.equal(before[n], b) for n, b in backbone.named_buffers())
    assert moved is changes


def test_pictures_are_resized_to_what_the_model_wants(tmp_path):
    backbone = make(tmp_path, "test_vit", image=(3, 50, 50), crop=(40, 40), resize=(32, 32))
    assert backbone.tokens == 1 + 2 * 2
    assert backbone(pictures(size=50)).shape == backbone(pictures(size=40)).shape


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
@pytest.mark.parametrize(("name", "size"), [("test_resnet", SIZE), ("test_vit", 160)])
def test_a_file_of_timms_weights_is_taken_over_without_the_classifier(tmp_path, suffix, name, size):
    torch.manual_seed(5)
    whole = timm.create_model(name)  # with a classifier, and a transformer of its own size
    path = tmp_path / f"weights.{suffix}"
    save = save_file if suffix == "safetensors" else torch.save
    save(whole.state_dict(), path)
    backbone = make(tmp_path, name, (3, size, size), weights=path.name, batch_norm="frozen").eval()
    backbone.load_pretrained()
    whole.eval()
    with torch.no_grad():
        features = whole.forward_features(backbone.input(pictures(size=size)))
        expected = whole.forward_head(features, pre_logits=True)
        torch.testing.assert_close(backbone(pictures(size=size))[:, 0], expected)


def test_position_embeddings_are_resampled_to_other_sizes(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), path)
    backbone = make(tmp_path, "test_vit", weights=str(path))
    backbone.load_pretrained()
    assert backbone.model.pos_embed.shape[1] == 1 + 4 * 4


def test_without_being_asked_nothing_is_loaded(tmp_path):
    backbone = make(tmp_path, "test_resnet")
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.load_pretrained()
    assert all(torch.equal(before[n], v) for n, v in backbone.state_dict().items())


class Harmful:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize("content", ["other model", "no tensors", "text", "code", "nothing"])
def test_a_file_that_does_not_hold_the_weights_is_refused(tmp_path, content, capsys):
    path = tmp_path / ("w.safetensors" if content == "text" else "w.pt")
    if content == "other model":
        torch.save(timm.create_model("test_efficientnet").state_dict(), path)
    elif content == "no tensors":
        torch.save({"a": torch.zeros(1)}, path)
    elif content == "text":
        path.write_text("not safetensors")
    elif content == "code":
        path.write_bytes(pickle.dumps(Harmful()))
    backbone = make(tmp_path, "test_resnet", weights=str(path), batch_norm="frozen")
    with pytest.raises(ConfigError, match=r"weights: .*w\.(pt|safetensors)"):
        backbone.load_pretrained()
    assert "code ran" not in capsys.readouterr().out


def test_a_hub_that_cannot_be_reached_is_an_error_that_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    backbone = make(tmp_path, "test_resnet", pretrained=True, batch_norm="frozen")
    with pytest.raises(ConfigError, match=r"no weights of test_resnet .* \(weights: PATH\)"):
        backbone.load_pretrained()


def test_pretrained_weights_do_not_go_with_replaced_batch_normalisation(tmp_path):
    with pytest.raises(ConfigError, match="expected frozen or train, got group"):
        make(tmp_path, "test_resnet", pretrained=True)
    make(tmp_path, "test_vit", pretrained=True)  # has none


def test_unknown_models_are_refused_with_the_nearest_names(tmp_path):
    with pytest.raises(ConfigError, match=r"has no 'resnet_18'; nearest: .*resnet18"):
        make(tmp_path, "resnet_18")
    with pytest.raises(ConfigError, match=r"no 'resnet18\.mine'; .*resnet18\.a1_in1k"):
        make(tmp_path, "resnet18.mine")


def test_a_size_that_the_model_does_not_take_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="test_vit does not take pictures of 60 × 60"):
        make(tmp_path, "test_vit", (3, 60, 60))
