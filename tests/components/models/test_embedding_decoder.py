import torch
from torch import nn

from components.models.embedding_decoder import EmbeddingDecoder


def test_an_array_is_the_row_by_row_projection_of_the_trunks_features():
    torch.manual_seed(0)
    decoder = EmbeddingDecoder(latent=2, outputs=[4, 3], width=5, layers=1)
    (hidden,) = (m for m in decoder.trunk.modules() if isinstance(m, nn.Linear))
    latent = torch.randn(6, 2)
    features = nn.functional.gelu(latent @ hidden.weight.T + hidden.bias)
    flat = features @ decoder.project.weight.T + decoder.project.bias
    array = decoder(latent)
    assert array.shape == (6, 4, 3)
    torch.testing.assert_close(array[:, 1, 2], flat[:, 1 * 3 + 2])
    torch.testing.assert_close(array, flat.reshape(6, 4, 3))


def test_arrays_are_of_full_precision_where_the_layers_are_not():
    decoder = EmbeddingDecoder(latent=2, outputs=[3], width=4, layers=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert decoder(torch.zeros(1, 2)).dtype == torch.float32
