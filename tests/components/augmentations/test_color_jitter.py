import pytest
import torch
from torchvision.transforms import functional

from components.augmentations.color_jitter import (
    ColorJitter,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
)
from trainer.interfaces import IMAGE_PREFIX, STATE

HEAD, LEFT = IMAGE_PREFIX + "head", IMAGE_PREFIX + "left"


def pictures(rows=4, steps=2):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (rows, steps, 3, 7, 9), generator=generator, dtype=torch.uint8)
    image[0, 0, :, 0] = 100  # grey, which has no hue
    image[0, 0, :, 1] = 0
    return image


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("ours", "theirs", "factors"),
    [
        (adjust_brightness, functional.adjust_brightness, [0.0, 0.6, 1.0, 1.7]),
        (adjust_contrast, functional.adjust_contrast, [0.0, 0.6, 1.0, 1.7]),
        (adjust_saturation, functional.adjust_saturation, [0.0, 0.6, 1.0, 1.7]),
        (adjust_hue, functional.adjust_hue, [-0.5, -0.1, 0.0, 0.3]),
    ],
)
def test_each_sample_is_changed_as_torchvision_would(ours, theirs, factors):
    pixels = pictures().float() / 255
    changed = ours(pixels, torch.tensor(factors).view(-1, 1, 1, 1, 1))
    for row, factor in enumerate(factors):
        torch.testing.assert_close(changed[row], theirs(pixels[row], factor), atol=2e-6, rtol=0)


def test_no_spread_changes_nothing():
    batch = {HEAD: pictures()}
    still = ColorJitter(brightness=0, contrast=0, saturation=0, hue=0)
    assert torch.equal(still(batch, generator())[HEAD], batch[HEAD])


def test_factors_differ_by_sample_and_camera_but_not_within_a_history():
    batch = {HEAD: torch.full((16, 3, 3, 2, 2), 100, dtype=torch.uint8), STATE: torch.zeros(16)}
    batch[LEFT] = batch[HEAD]
    changed = ColorJitter(brightness=0.5, contrast=0, saturation=0)(batch, generator())
    head, left = (changed[key].flatten(1) for key in (HEAD, LEFT))
    assert (head == head[:, :1]).all()
    assert len(head[:, 0].unique()) > 8
    assert not torch.equal(head, left)
    assert head.min() >= 50
    assert head.max() <= 150
    assert torch.equal(changed[STATE], batch[STATE])


def test_the_draw_follows_from_the_generator_and_pictures_stay_uint8():
    batch = {HEAD: pictures()}
    before = batch[HEAD].clone()
    jitter = ColorJitter(hue=0.1)
    first, again, other = (jitter(batch, generator(seed))[HEAD] for seed in (1, 1, 2))
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(batch[HEAD], before)
