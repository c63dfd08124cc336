import pytest
import torch

from components.models.conv_backbone import ConvBackbone, spatial_softmax
from trainer.errors import ConfigError


def test_spatial_softmax_returns_where_a_channel_is_bright():
    features = torch.zeros(1, 2, 3, 5)
    features[0, 0, 2, 1] = 1e3  # the last row, halfway between left edge and middle
    column, row = spatial_softmax(features)
    torch.testing.assert_close(column, torch.tensor([[-0.5, 0.0]]))
    torch.testing.assert_close(row, torch.tensor([[1.0, 0.0]]))


def test_spatial_softmax_is_the_expected_position():
    features = torch.zeros(1, 1, 1, 2)
    features[..., 1] = torch.log(torch.tensor(3.0))  # weights 1/4 and 3/4
    column, _ = spatial_softmax(features)
    torch.testing.assert_close(column, torch.tensor([[0.5]]))


def test_one_token_a_picture_holds_positions_then_means():
    torch.manual_seed(0)
    backbone = ConvBackbone(image=(3, 16, 24), channels=[8, 16])
    images = torch.randint(0, 256, (5, 3, 16, 24), dtype=torch.uint8)
    tokens = backbone(images)
    assert tokens.shape == (5, backbone.tokens, backbone.token_dim) == (5, 1, 48)
    features = backbone.layers(backbone.input(images))
    assert features.shape == (5, 16, 4, 6)
    torch.testing.assert_close(tokens[:, 0, 32:], features.mean(dim=(2, 3)))


def test_positions_follow_the_projected_summary():
    torch.manual_seed(0)
    backbone = ConvBackbone(image=(3, 18, 24), channels=[8, 16], positions=True)
    images = torch.randint(0, 256, (2, 3, 18, 24), dtype=torch.uint8)
    tokens = backbone(images)
    assert tokens.shape == (2, backbone.tokens, backbone.token_dim) == (2, 1 + 5 * 6, 16)
    features = backbone.layers(backbone.input(images))
    torch.testing.assert_close(tokens[:, 1 + 6 * 2 + 3], features[:, :, 2, 3])
    summary = torch.cat([*spatial_softmax(features), features.mean(dim=(2, 3))], dim=-1)
    torch.testing.assert_close(tokens[:, 0], backbone.project(summary))


def test_a_picture_does_not_depend_on_the_others():
    torch.manual_seed(0)
    backbone = ConvBackbone(image=(3, 16, 16), channels=[8])
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    torch.testing.assert_close(backbone(images)[2], backbone(images[2:3])[0])


def test_channels_that_do_not_form_groups_are_refused():
    with pytest.raises(ConfigError, match=r"channels: expected multiples of 8, got \[8, 12\]"):
        ConvBackbone(image=(3, 16, 16), channels=[8, 12])
