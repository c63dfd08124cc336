import pytest
import torch
from torch import nn

from components.models.camera_encoder import CameraEncoder
from components.models.conv_backbone import ConvBackbone
from components.models.depth_stream import DepthStream, DepthView
from components.models.info_embedder import InfoEmbedder
from components.models.observer import Observer
from components.models.state_encoder import StateEncoder
from components.models.task_embedding import TaskEmbedding
from trainer.errors import ConfigError
from trainer.fake_data import FakeDataset
from trainer.interfaces import IMAGE_PREFIX, TASK, Interface

CAMERAS = {"head": (3, 16, 16), "left": (3, 16, 16)}
INTERFACE = Interface(2, 4, 20.0, 5, 3, CAMERAS)


def backbone(image=(3, 16, 16)):
    return ConvBackbone(image=image, channels=[8])


def encoder(image_token_dim=24):
    sizes = {"image_tokens": 1, "state": 5, "obs_steps": 2, "dim": 8, "hidden": 8}
    return CameraEncoder(cameras=CAMERAS, image_token_dim=image_token_dim, **sizes)


def observe(teaches_depth=True, **components):
    parts = nn.ModuleDict(components)
    return Observer(parts, INTERFACE, others=[], teaches_depth=teaches_depth)


@pytest.fixture
def batch():
    return FakeDataset(INTERFACE).__getitems__(range(3))


def test_one_shared_backbone_sees_what_two_equal_ones_see(batch):
    torch.manual_seed(0)
    shared, eyes = encoder(), backbone()
    together = observe(observation_encoder=shared, backbone=eyes)(batch)
    apart = observe(observation_encoder=shared, backbone_head=eyes, backbone_left=eyes)(batch)
    assert together.shape == (3, shared.tokens, shared.token_dim)
    torch.testing.assert_close(together, apart)


def test_a_shared_backbone_is_called_once(batch):
    calls = []
    eyes = backbone()
    eyes.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    observe(observation_encoder=encoder(), backbone=eyes)(batch)
    assert calls == [2 * 3 * 2]  # cameras, samples, steps of history


def test_each_camera_is_seen_by_its_own_backbone(batch):
    torch.manual_seed(0)
    observer = observe(
        observation_encoder=encoder(), backbone_head=backbone(), backbone_left=backbone()
    )
    before = observer(batch)
    key = IMAGE_PREFIX + "left"
    after = observer(batch | {key: 255 - batch[key]})
    differs = (before != after).any(dim=-1).any(dim=0)
    assert differs.tolist() == [False, False, True, True, False, False]


def test_missing_and_unused_backbones_are_named():
    with pytest.raises(ConfigError, match="'backbone_left' is missing; 'backbone_right' is not"):
        observe(observation_encoder=encoder(), backbone_head=backbone(), backbone_right=backbone())
    with pytest.raises(ConfigError, match="'backbone_head' is not used"):
        observe(observation_encoder=encoder(), backbone=backbone(), backbone_head=backbone())


def test_components_that_do_not_fit_each_other_are_refused():
    with pytest.raises(ConfigError, match=r"from backbone: expected \(1, 24\), got \(1, 10\)"):
        observe(observation_encoder=encoder(image_token_dim=10), backbone=backbone())
    with pytest.raises(ConfigError, match=r"backbone.image \(head\): expected \(3, 16, 16\)"):
        observe(observation_encoder=encoder(), backbone=backbone(image=(3, 32, 32)))
    blind = StateEncoder(state=5, obs_steps=2, dim=8, hidden=8)
    with pytest.raises(ConfigError, match=r"cameras: expected \('head', 'left'\), got \(\)"):
        observe(observation_encoder=blind, backbone=backbone())


class FirstPixel(DepthStream):
    """One token, full of the first pixel; the depth is a hundredth of it."""

    estimates, tokens, token_dim = True, 1, 24

    def __init__(self, camera="left"):
        super().__init__()
        self.camera = camera

    def forward(self, images_nchw, tokens_ntd):
        first = images_nchw[:, :1, :1, :1].float()
        return DepthView(first[:, 0].expand(-1, -1, 24), first / 100)


def embedder(cameras=("head", "left", "depth")):
    sizes = {"image_tokens": 1, "image_token_dim": 24, "state": 5, "obs_steps": 2, "dim": 8}
    transformer = {"hidden": 8, "layers": 1, "heads": 2, "feedforward": 8}
    return InfoEmbedder(cameras=list(cameras), **sizes, **transformer)


def test_a_depth_stream_looks_through_its_camera_and_is_seen_as_one_more(batch):
    observer = observe(
        observation_encoder=embedder(), backbone=backbone(), depth_stream=FirstPixel()
    )
    seen = observer.look(batch)
    assert seen.tokens_bnd.shape == (3, observer.encoder.tokens, 8)
    expected = batch[IMAGE_PREFIX + "left"][:, :, :1, :1, :1].float() / 100
    assert torch.equal(seen.depth_bo1hw, expected)


def test_a_depth_stream_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="there is no camera 'lefd'"):
        observe(
            observation_encoder=embedder(), backbone=backbone(), depth_stream=FirstPixel("lefd")
        )
    with pytest.raises(ConfigError, match=r"cameras: expected \('head', 'left', 'depth'\)"):
        observe(
            observation_encoder=embedder(("head", "left")),
            backbone=backbone(),
            depth_stream=FirstPixel(),
        )


def test_depth_that_nothing_would_teach_is_refused():
    parts = {"observation_encoder": embedder(), "backbone": backbone()}
    with pytest.raises(ConfigError, match="this policy has no loss for"):
        observe(**parts, depth_stream=FirstPixel(), teaches_depth=False)
    knows = FirstPixel()
    knows.estimates = False
    observe(**parts, depth_stream=knows, teaches_depth=False)


def test_a_task_embedding_adds_a_token_that_says_which_task_it_is(batch):
    observer = observe(
        observation_encoder=encoder(),
        backbone=backbone(),
        task_embedding=TaskEmbedding(tasks=3, dim=8),
    )
    assert observer.needs == (TASK,)
    tokens = observer(batch | {TASK: torch.tensor([2, 0, 2])})
    assert tokens.shape == (3, observer.encoder.tokens + 1, 8)
    assert torch.equal(tokens[:, -1], observer.task_embedding.embedding[[2, 0, 2]])
    with pytest.raises(ConfigError, match=r"task_embedding\.dim: expected 8, got 4"):
        observe(
            observation_encoder=encoder(),
            backbone=backbone(),
            task_embedding=TaskEmbedding(tasks=3, dim=4),
        )
