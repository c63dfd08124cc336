import math

import pytest
import torch

from components.models.transformer import Attention, Block, Encoder
from trainer.errors import ConfigError


def attention_by_hand(attention, x, memory, causal):
    """Loops over rows, heads and tokens, and plain softmax."""
    own, kept = x @ attention.query_key_value.weight.T, memory @ attention.memory_key_value.weight.T
    dim, width = x.shape[-1], x.shape[-1] // attention.heads
    query, key, value = own.split(dim, dim=-1)
    key = torch.cat([kept[..., :dim], key], dim=1)
    value = torch.cat([kept[..., dim:], value], dim=1)
    mixed = torch.zeros_like(x)
    for row in range(x.shape[0]):
        for head in range(attention.heads):
            part = slice(head * width, (head + 1) * width)
            for token in range(x.shape[1]):
                seen = memory.shape[1] + (token + 1 if causal else x.shape[1])
                scores = key[row, :seen, part] @ query[row, token, part] / math.sqrt(width)
                mixed[row, token, part] = scores.softmax(0) @ value[row, :seen, part]
    return mixed @ attention.output.weight.T + attention.output.bias


@pytest.mark.parametrize("causal", [False, True])
def test_attention_matches_plain_loops(causal):
    torch.manual_seed(0)
    attention = Attention(dim=8, heads=2, memory_dim=6)
    x, memory = torch.randn(2, 3, 8), torch.randn(2, 5, 6)
    output = attention(x, attention.remember(memory), causal)
    torch.testing.assert_close(output, attention_by_hand(attention, x, memory, causal))


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match="multiple of heads = 3, got 8"):
        Attention(dim=8, heads=3, memory_dim=8)


def test_block_adds_to_its_input():
    block = Block(dim=8, heads=2, memory_dim=6, feedforward=16)
    for layer in (block.attention.output, block.feedforward[-1]):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x = torch.randn(2, 3, 8)
    assert torch.equal(block(x, block.remember(torch.randn(2, 1, 6)), causal=False), x)


def test_dropout_acts_in_training_only():
    block = Block(dim=8, heads=2, memory_dim=6, feedforward=16, dropout=0.5)
    x = torch.randn(2, 3, 8)
    memory = block.remember(torch.randn(2, 1, 6))
    assert not torch.equal(block(x, memory, False), block(x, memory, False))
    block.eval()
    assert torch.equal(block(x, memory, False), block(x, memory, False))


def test_without_a_memory_tokens_attend_to_each_other_alone():
    torch.manual_seed(0)
    with_memory = Attention(dim=8, heads=2, memory_dim=6)
    alone = Attention(dim=8, heads=2)
    alone.load_state_dict(with_memory.state_dict(), strict=False)
    x = torch.randn(2, 3, 8)
    nothing = torch.randn(2, 0, 6)
    torch.testing.assert_close(
        alone(x, None, causal=False), attention_by_hand(with_memory, x, nothing, causal=False)
    )


def test_experts_are_blocks_side_by_side():
    torch.manual_seed(0)
    together = Block(dim=8, heads=2, memory_dim=6, feedforward=16, experts=3)
    x, memory = torch.randn(3, 2, 4, 8), torch.randn(3, 2, 5, 6)
    output = together(x, together.remember(memory), causal=True)
    for e in range(3):
        alone = Block(dim=8, heads=2, memory_dim=6, feedforward=16)
        alone.load_state_dict(
            {
                name: values[e].T if values.ndim == 3 else values[e]
                for name, values in together.state_dict().items()
            }
        )
        expected = alone(x[e], alone.remember(memory[e]), causal=True)
        torch.testing.assert_close(output[e], expected)


def test_an_encoder_does_not_care_for_the_order_of_its_tokens():
    torch.manual_seed(0)
    encoder = Encoder(dim=8, layers=2, heads=2, feedforward=16)
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(encoder(x.flip(1)), encoder(x).flip(1))
