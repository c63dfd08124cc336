import torch

from components.models.picture_decoder import PictureDecoder


def test_pictures_of_every_camera_double_the_grid_in_each_layer():
    decoder = PictureDecoder(latent=4, cameras=2, grid=3, channels=[8, 4])
    assert decoder.size == 12
    assert decoder(torch.zeros(5, 4)).shape == (5, 2, 3, 12, 12)


def test_a_target_is_the_mean_over_squares_from_minus_1_to_1():
    decoder = PictureDecoder(latent=4, cameras=1, grid=1, channels=[8])
    image = torch.tensor([[0, 0, 255, 255], [0, 0, 255, 255], [0, 255, 51, 51], [0, 255, 51, 51]])
    target = decoder.target(image.to(torch.uint8).expand(1, 3, 4, 4))
    torch.testing.assert_close(target[0, 0], torch.tensor([[-1.0, 1.0], [0.0, -0.6]]))
