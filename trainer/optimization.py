"""Parameter groups, an optimizer that knows its parameters' names, and exponential averaging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import torch
from torch import Tensor, nn

from trainer.errors import CheckpointError
from trainer.interfaces import OptimizerPlugin, Policy
from trainer.schema import ComponentOptim


def parameter_groups(
    policy: Policy, overrides: Mapping[str, ComponentOptim]
) -> list[dict[str, object]]:
    """Return one group a component and kind of parameter, and freeze what is to be frozen.

    Biases, norms' scales and other parameters with fewer than two dimensions are not decayed, nor
    those that a module names in ``undecayed``: biases and scales of several experts at once.
    A group's ``weight_decay`` is None where the recipe's own applies.
    """
    groups: list[dict[str, object]] = []
    for name, component in policy.components.items():
        override = overrides.get(name, ComponentOptim())
        if override.freeze:
            component.requires_grad_(False)
        trainable = [p for p in component.parameters() if p.requires_grad]
        excused = {
            id(getattr(module, name))
            for module in component.modules()
            for name in getattr(module, "undecayed", ())
        }
        for decayed in (True, False):
            parameters = [p for p in trainable if (p.ndim >= 2 and id(p) not in excused) == decayed]
            if parameters:
                groups.append(
                    {
                        "params": parameters,
                        "lr_scale": override.lr_scale,
                        "weight_decay": override.weight_decay if decayed else 0.0,
                    }
                )
    return groups


class OptimizerState(TypedDict):
    """An optimizer's state with parameter names in the place of indices."""

    state: dict[str, dict[str, Tensor | float]]
    groups: list[dict[str, object]]
    names: list[str]


class NamedOptimizer:
    """An optimizer whose saved state is keyed by parameter name, and its schedule."""

    def __init__(
        self, recipe: OptimizerPlugin, policy: Policy, groups: list[dict[str, object]]
    ) -> None:
        self.recipe = recipe
        self.torch = recipe.build(groups)
        names = {id(p): name for name, p in policy.components.named_parameters()}
        self.parameters = [p for group in self.torch.param_groups for p in group["params"]]
        self.names = [names[id(p)] for p in self.parameters]
        self.learning_rate = 0.0

    def set_learning_rate(self, step: int, total_steps: int) -> None:
        """Set each group's learning rate for the step with this zero-based index."""
        self.learning_rate = self.recipe.learning_rate(step, total_steps)
        for group in self.torch.param_groups:
            group["lr"] = self.learning_rate * group["lr_scale"]

    def averaged(self) -> dict[str, Tensor]:
        """Return the optimizer's own averages by parameter name; empty when it keeps none."""
        by_id = {id(p): value for p, value in self.recipe.averaged(self.torch).items()}
        return {
            name: by_id[id(p)]
            for name, p in zip(self.names, self.parameters, strict=True)
            if id(p) in by_id
        }

    def copy_rows(self, parameter: nn.Parameter, rows: Tensor, source: Tensor) -> None:
        """Let what is known of rows ``source`` hold for ``rows`` (codebook entries put there)."""
        self.recipe.copy_rows(self.torch, parameter, rows, source)

    def state_dict(self) -> OptimizerState:
        """Return the state keyed by parameter name."""
        plain = self.torch.state_dict()
        return {
            "state": {self.names[index]: state for index, state in plain["state"].items()},
            "groups": plain["param_groups"],
            "names": self.names,
        }

    def load_state_dict(self, saved: OptimizerState) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            CheckpointError: the saved optimizer trained other parameters.
        """
        if saved["names"] != self.names:
            changed = sorted(set(saved["names"]) ^ set(self.names)) or ["their order"]
            raise CheckpointError(
                "the checkpoint's optimizer trained other parameters than this experiment does "
                f"(differing: {', '.join(changed[:5])}); start a new expN, with train.load_dir for "
                "a warm start"
            )
        index = {name: i for i, name in enumerate(self.names)}
        state = {index[name]: value for name, value in saved["state"].items()}
        self.torch.load_state_dict({"state": state, "param_groups": saved["groups"]})


class ExponentialAverage:
    """A moving average of all weights: ``decay`` warmed up as min(decay, (1 + n) / (10 + n))."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = dict(module.state_dict(keep_vars=True))
        self.values = {name: value.detach().clone() for name, value in self._live.items()}
        floating = [name for name, value in self.values.items() if value.is_floating_point()]
        self._live_floating = [self._live[name].detach() for name in floating]
        self._floating = [self.values[name] for name in floating]
        self._other = [name for name in self.values if name not in floating]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights after the step with this zero-based index."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._floating, self._live_floating, 1 - decay)
        for name in self._other:
            self.values[name].copy_(self._live[name])

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Take over saved averages."""
        for name, value in self.values.items():
            value.copy_(values[name])
