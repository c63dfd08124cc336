import numpy as np
import pytest
import torch
from PIL import Image

from components.models.image_input import ImageInput
from trainer.errors import ConfigError

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def pictures(height, width, count=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator, dtype=torch.uint8)


def test_pixels_are_scaled_to_one_then_normalised_by_channel():
    picture = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    out = ImageInput((3, 1, 1), None, None, mean=(0.5, 0.0, 0.2), std=(0.25, 0.1, 2.0))(picture)
    torch.testing.assert_close(out.flatten(), torch.tensor([-2.0, 2.0, 0.4]))
    assert out.dtype == torch.float32


def test_the_middle_is_cut_out_and_a_picture_of_that_size_passes():
    image = pictures(6, 8)
    prepare = ImageInput((3, 6, 8), (4, 4), None, **PLAIN)
    middle = image[:, :, 1:5, 2:6]
    torch.testing.assert_close(prepare(image), middle.float() / 255)
    assert torch.equal(prepare(middle), prepare(image))
    assert prepare.size == (4, 4)


def test_pictures_are_resized_without_aliasing_after_the_crop():
    image = pictures(40, 60, count=1)
    prepare = ImageInput((3, 40, 60), (40, 40), (16, 16), **PLAIN)
    middle = Image.fromarray(image[0, :, :, 10:50].permute(1, 2, 0).numpy())
    expected = np.asarray(middle.resize((16, 16), Image.Resampling.BILINEAR))
    out = 255 * prepare(image)[0].permute(1, 2, 0).numpy()
    assert prepare.size == out.shape[:2]
    np.testing.assert_allclose(out, expected, atol=1.0)  # Pillow rounds


def test_channels_lie_last_in_memory():
    out = ImageInput((3, 6, 8), None, None)(pictures(6, 8))
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_pictures_of_another_size_are_refused():
    with pytest.raises(
        ConfigError, match=r"pictures of 5 × 8: expected 6 × 8, or the crop's 4 × 4"
    ):
        ImageInput((3, 6, 8), (4, 4), None)(pictures(5, 8))


def test_a_crop_larger_than_the_picture_and_other_channels_are_refused():
    with pytest.raises(ConfigError, match=r"crop: expected at most \[6, 8\], got \[6, 9\]"):
        ImageInput((3, 6, 8), (6, 9), None)
    with pytest.raises(ConfigError, match=r"image: expected 3 channels, got \[1, 6, 8\]"):
        ImageInput((1, 6, 8), None, None)
