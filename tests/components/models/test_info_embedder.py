import torch

from components.models.contracts import CAMERA_TOKENS_PREFIX
from components.models.info_embedder import InfoEmbedder
from trainer.interfaces import STATE

SIZES = {
    "cameras": ["left", "right"],
    "image_tokens": 3,
    "image_token_dim": 6,
    "state": 5,
    "obs_steps": 2,
    "dim": 8,
    "hidden": 8,
    "layers": 2,
    "heads": 2,
    "feedforward": 16,
}


def make():
    torch.manual_seed(0)
    batch = {CAMERA_TOKENS_PREFIX + name: torch.randn(4, 2, 3, 6) for name in SIZES["cameras"]}
    return InfoEmbedder(**SIZES), batch | {STATE: torch.randn(4, 2, 5)}


def test_states_summaries_and_pictures_have_their_tokens():
    encoder, batch = make()
    tokens = encoder(batch)
    assert tokens.shape == (4, encoder.tokens, encoder.token_dim) == (4, 2 + 2 + 2 * 2 * 3, 8)


def test_every_token_has_looked_at_everything():
    encoder, batch = make()
    before = encoder(batch)
    for key in batch:
        other = batch[key].clone()
        other[:, 1] += 1
        assert (encoder(batch | {key: other}) != before).any(dim=-1).all()


def test_cameras_are_told_apart():
    encoder, batch = make()
    encoder.project["right"].load_state_dict(encoder.project["left"].state_dict())
    left, right = (CAMERA_TOKENS_PREFIX + name for name in SIZES["cameras"])
    swapped = encoder(batch | {left: batch[right], right: batch[left]})
    assert not torch.allclose(swapped[:, :2], encoder(batch)[:, :2])
