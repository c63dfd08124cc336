import torch

from components.models.action_decoder import ActionDecoder
from components.models.moe_action_decoder import MoEActionDecoder

SIZES = {
    "chunk": 6,
    "action": 3,
    "memory_dim": 10,
    "dim": 16,
    "layers": 2,
    "heads": 4,
    "feedforward": 32,
    "steps_per_token": 2,
    "causal": True,
}
SHARED = ("memory_norm.", "embed.", "positions", "time.")


def test_each_expert_is_an_action_decoder():
    torch.manual_seed(0)
    together = MoEActionDecoder(experts=3, **SIZES)
    for parameter in together.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    action, time, memory = torch.randn(2, 6, 3), torch.rand(2), torch.randn(2, 4, 10)
    velocity = together(action, time, together.remember(memory))
    assert velocity.shape == (3, 2, 6, 3)
    for e in range(3):
        alone = ActionDecoder(**SIZES)
        own = {}
        for name, values in together.state_dict().items():
            if name.startswith(SHARED):
                own[name] = values
            else:
                own[name] = values[e].T if values.ndim == 3 else values[e]
        alone.load_state_dict(own)
        expected = alone(action, time, alone.remember(memory))
        torch.testing.assert_close(velocity[e], expected, rtol=1e-4, atol=1e-5)
