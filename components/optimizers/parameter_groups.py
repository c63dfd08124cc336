"""What the optimizer recipes share about parameter groups."""

from collections.abc import Sequence


def with_weight_decay(
    groups: Sequence[dict[str, object]], weight_decay: float
) -> list[dict[str, object]]:
    """Return copies of the groups, in which ``weight_decay: None`` has become the recipe's own."""
    return [
        group | {"weight_decay": weight_decay} if group["weight_decay"] is None else dict(group)
        for group in groups
    ]
