"""How many steps a policy integrates in a decision, whichever way it does that."""

from __future__ import annotations

from components.models.flow import Flow
from trainer.interfaces import Policy


def integration_steps(policy: Policy) -> int | None:
    """Return the steps of a decision; None for a policy that does not integrate."""
    return getattr(getattr(policy, "flow", policy), "num_steps", None)


def set_integration_steps(policy: Policy, steps: int) -> None:
    """Have a policy that integrates take so many steps from now on."""
    flow = getattr(policy, "flow", None)
    if isinstance(flow, Flow):
        vars(policy)["flow"] = flow.model_copy(update={"num_steps": steps})
    else:
        vars(policy)["num_steps"] = steps
