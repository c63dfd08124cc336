import pytest
import torch

from components.models.chunk_query_decoder import ChunkQueryDecoder
from trainer.errors import ConfigError


def decoder(**changes):
    torch.manual_seed(0)
    sizes = {
        "chunk": 4,
        "action": 3,
        "latent": 6,
        "dim": 16,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "heads": 2,
        "feedforward": 32,
    }
    return ChunkQueryDecoder(**(sizes | changes))


def inputs():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 5, 16, generator=generator), torch.randn(2, 6, generator=generator)


def test_every_step_depends_on_every_token_and_on_the_latent():
    model, (memory, latent) = decoder(), inputs()
    action = model(memory, latent)
    assert action.shape == (2, 4, 3)
    assert (model(memory, latent + 1) != action).all()
    for token in range(5):
        other = memory.clone()
        other[:, token, 0] += 1
        assert (model(other, latent) != action).any(dim=-1).all()


def test_queries_tell_the_steps_apart():
    model = decoder()
    action = model(*inputs())
    assert (action[:, 0] - action[:, 1]).abs().min() > 1e-3
    with torch.no_grad():
        model.queries.copy_(model.queries.flip(0))
    torch.testing.assert_close(model(*inputs()), action.flip(1))


def test_every_decoder_block_counts():
    """The original's code decodes with the first block alone."""
    model = decoder()
    action = model(*inputs())
    for block in model.blocks:
        before = block.feedforward[-1].bias.clone()
        with torch.no_grad():
            block.feedforward[-1].bias.copy_(torch.arange(16.0))
            assert not torch.allclose(model(*inputs()), action)
            block.feedforward[-1].bias.copy_(before)


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match="dim: expected a multiple of heads = 3, got 16"):
        decoder(heads=3)
