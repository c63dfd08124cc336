import torch

from components.augmentations.camera_blanking import CameraBlanking
from trainer.interfaces import DEPTH_PREFIX, IMAGE_PREFIX, STATE

CAMERAS = ("head", "left", "right")


def make_batch(rows):
    batch = {IMAGE_PREFIX + c: torch.ones(rows, 2, 3, 2, 2, dtype=torch.uint8) for c in CAMERAS}
    return batch | {DEPTH_PREFIX + "head": torch.ones(rows, 2, 1, 2, 2), STATE: torch.ones(rows, 4)}


def test_a_share_of_the_samples_loses_one_whole_camera_and_its_depth():
    batch = make_batch(6000)
    changed = CameraBlanking(probability=0.3)(batch, torch.Generator().manual_seed(0))
    dark = torch.stack([(changed[IMAGE_PREFIX + c] == 0).flatten(1) for c in CAMERAS])
    assert torch.equal(dark.any(dim=2), dark.all(dim=2))
    dark = dark.any(dim=2)
    assert dark.sum(dim=0).max() == 1
    torch.testing.assert_close(dark.float().mean(dim=1), torch.full((3,), 0.1), rtol=0, atol=0.015)
    depth = changed[DEPTH_PREFIX + "head"].flatten(1)
    assert torch.equal(depth[:, 0] == 0, dark[0])
    assert torch.equal(changed[STATE], batch[STATE])
    assert batch[IMAGE_PREFIX + "head"].all()


def test_without_cameras_nothing_happens():
    batch = {STATE: torch.ones(3, 4)}
    assert CameraBlanking()(batch, torch.Generator()) is batch
