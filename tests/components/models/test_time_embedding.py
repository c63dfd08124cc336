import torch

from components.models.time_embedding import TimeEmbedding


def test_features_are_sines_and_cosines_from_one_radian_to_the_highest_frequency():
    embedding = TimeEmbedding(dim=4, frequencies=3, max_frequency=100.0)
    embedding.project = torch.nn.Identity()
    angle = torch.tensor([0.3, 3.0, 30.0])
    expected = torch.cat([angle.sin(), angle.cos()])
    torch.testing.assert_close(embedding(torch.tensor([0.3]))[0], expected)


def test_close_times_are_told_apart_and_nothing_but_weights_is_saved():
    torch.manual_seed(0)
    embedding = TimeEmbedding(dim=8)
    one, other = embedding(torch.tensor([0.5, 0.51]))
    assert (one - other).abs().max() > 1e-3
    assert all(name.startswith("project.") for name in embedding.state_dict())
