import torch

from components.models.camera_encoder import CameraEncoder
from components.models.contracts import CAMERA_TOKENS_PREFIX
from trainer.interfaces import STATE

SIZES = {"image_tokens": 3, "image_token_dim": 6, "state": 5, "obs_steps": 2, "dim": 8, "hidden": 8}


def make():
    torch.manual_seed(0)
    cameras = {"left": (3, 16, 16), "right": (3, 16, 16)}
    encoder = CameraEncoder(cameras=cameras, **SIZES)
    batch = {CAMERA_TOKENS_PREFIX + name: torch.randn(4, 2, 3, 6) for name in cameras}
    return encoder, batch | {STATE: torch.randn(4, 2, 5)}


def test_each_camera_step_and_place_has_a_token_and_each_state_too():
    encoder, batch = make()
    tokens = encoder(batch)
    assert tokens.shape == (4, encoder.tokens, encoder.token_dim) == (4, 2 * 2 * 3 + 2, 8)
    assert encoder.cameras == ("left", "right")


def test_a_token_depends_on_its_own_place_alone():
    encoder, batch = make()
    before = encoder(batch)

    def changed(key, *place):
        other = batch[key].clone()
        other[(slice(None), *place)] += 1
        differs = (encoder(batch | {key: other}) != before).any(dim=-1).any(dim=0)
        return differs.nonzero().flatten().tolist()

    assert changed(CAMERA_TOKENS_PREFIX + "left", 1, 2) == [5]
    assert changed(CAMERA_TOKENS_PREFIX + "right", 0, 1) == [7]
    assert changed(STATE, 1) == [13]


def test_equal_pictures_of_different_cameras_steps_and_places_are_told_apart():
    encoder, batch = make()
    equal = {key: torch.ones_like(value) for key, value in batch.items()}
    encoder.project["right"].load_state_dict(encoder.project["left"].state_dict())
    tokens = encoder(equal)[0]
    assert len(torch.unique(tokens, dim=0)) == encoder.tokens
