"""The weights of a checkpoint go into a policy's components; what does not fit is named."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.checkpoint import Checkpoint
from trainer.errors import CheckpointError
from trainer.interfaces import Policy


def load_components(
    policy: Policy,
    checkpoint: Checkpoint,
    missing: Sequence[str] = (),
    surplus: Sequence[str] = (),
) -> None:
    """Load the acting weights of a checkpoint into the policy's components, in place.

    Args:
        policy: The policy to fill.
        checkpoint: Where the weights are.
        missing: Prefixes of names (``component.key``) that the checkpoint may lack.
        surplus: Prefixes of names that the policy may lack.

    Raises:
        CheckpointError: other names differ, or a tensor has another shape.
    """
    saved = {
        f"{name}.{key}": value
        for name in checkpoint.components()
        for key, value in checkpoint.component(name).items()
    }
    own = policy.components.state_dict()
    lacking = [n for n in own.keys() - saved.keys() if not n.startswith(tuple(missing))]
    unknown = [n for n in saved.keys() - own.keys() if not n.startswith(tuple(surplus))]
    shapes = [
        f"{n} is {tuple(saved[n].shape)} there and {tuple(own[n].shape)} here"
        for n in own.keys() & saved.keys()
        if own[n].shape != saved[n].shape
    ]
    if lacking or unknown or shapes:
        problems = [
            *([f"it lacks {_some(lacking)} (train.load_missing)"] if lacking else []),
            *([f"it has the unknown {_some(unknown)} (train.load_surplus)"] if unknown else []),
            *shapes[:5],
        ]
        raise CheckpointError(
            f"{checkpoint.folder} does not fit this model: {'; '.join(problems)}. Names that are "
            "expected to differ can be listed, by prefix, under the key in brackets"
        )
    policy.components.load_state_dict({n: v for n, v in saved.items() if n in own}, strict=False)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(sorted(names)[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
