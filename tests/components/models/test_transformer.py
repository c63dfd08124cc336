import math

import pytest
import torch

from components.models.transformer import DecoderBlock, MemoryAttention
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
    attention = MemoryAttention(dim=8, heads=2, memory_dim=6)
    x, memory = torch.randn(2, 3, 8), torch.randn(2, 5, 6)
    output = attention(x, attention.remember(memory), causal)
    torch.testing.assert_close(output, attention_by_hand(attention, x, memory, causal))


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match="multiple of heads = 3, got 8"):
        MemoryAttention(dim=8, heads=3, memory_dim=8)


def test_block_adds_to_its_input():
    block = DecoderBlock(dim=8, heads=2, memory_dim=6, feedforward=16)
    for layer in (block.attention.output, block.feedforward[-1]):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x = torch.randn(2, 3, 8)
    assert torch.equal(block(x, block.remember(torch.randn(2, 1, 6)), causal=False), x)


def test_dropout_acts_in_training_only():
    block = DecoderBlock(dim=8, heads=2, memory_dim=6, feedforward=16, dropout=0.5)
    x = torch.randn(2, 3, 8)
    memory = block.remember(torch.randn(2, 1, 6))
    assert not torch.equal(block(x, memory, False), block(x, memory, False))
    block.eval()
    assert torch.equal(block(x, memory, False), block(x, memory, False))
