import pytest
import torch

from components.models.action_decoder import ActionDecoder
from trainer.errors import ConfigError
from trainer.registry import models
from trainer.schema import ComponentSpec
from trainer.signature import build


def decoder(**changes):
    torch.manual_seed(0)
    sizes = {
        "chunk": 6,
        "action": 3,
        "memory_dim": 10,
        "dim": 16,
        "layers": 2,
        "heads": 4,
        "feedforward": 32,
    }
    return ActionDecoder(**(sizes | changes))


def inputs():
    generator = torch.Generator().manual_seed(1)
    action = torch.randn(2, 6, 3, generator=generator)
    return action, torch.rand(2, generator=generator), torch.randn(2, 4, 10, generator=generator)


def velocity(model, action, time, memory):
    return model(action, time, model.remember(memory))


def steps_that_depend_on_step(step, **changes):
    model, (action, time, memory) = decoder(**changes), inputs()
    other = action.clone()
    other[:, step] += 1
    difference = velocity(model, action, time, memory) - velocity(model, other, time, memory)
    return (difference.abs().amax(dim=(0, 2)) > 0).tolist()


def test_by_default_every_step_depends_on_every_other():
    assert all(all(steps_that_depend_on_step(step)) for step in (0, 5))


def test_causal_decoder_never_looks_ahead():
    assert steps_that_depend_on_step(3, causal=True) == [False] * 3 + [True] * 3


def test_causality_is_by_token_when_steps_share_one():
    changed = steps_that_depend_on_step(3, causal=True, steps_per_token=2)
    assert changed == [False] * 2 + [True] * 4


@pytest.mark.parametrize("steps_per_token", [1, 2, 6])
def test_velocity_has_the_shape_of_the_chunk_and_depends_on_everything(steps_per_token):
    model, (action, time, memory) = decoder(steps_per_token=steps_per_token), inputs()
    output = velocity(model, action, time, memory)
    assert output.shape == action.shape
    assert not torch.equal(output, velocity(model, action, time + 0.1, memory))
    assert not torch.equal(output, velocity(model, action, time, memory.flip(2)))


def test_positions_tell_equal_actions_apart():
    model, (action, time, memory) = decoder(), inputs()
    output = velocity(model, action[:, :1].expand(-1, 6, -1), time, memory)
    assert not torch.allclose(output[:, 0], output[:, 1])


def test_chunk_must_be_a_multiple_of_steps_per_token():
    with pytest.raises(ConfigError, match="steps_per_token: expected a divisor of chunk=6, got 4"):
        decoder(steps_per_token=4)


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"experts": 2}, "experts: unknown parameter of action_decoder"),
        ({"layers": 0}, "layers: .* greater than 0"),
        ({"dropout": 1.0}, "dropout: .* less than 1"),
    ],
)
def test_a_yaml_is_checked_against_the_parameters_that_it_shares(params, complaint):
    sizes = {"chunk": 6, "action": 3, "memory_dim": 10, "dim": 16, "heads": 4, "feedforward": 32}
    spec = ComponentSpec(type="action_decoder", params=sizes | {"layers": 2} | params)
    with pytest.raises(ConfigError, match=complaint):
        build(models, spec, "decoder")
