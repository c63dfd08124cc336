"""What a checkpoint must hold, beside the acting weights, to go on with the same bits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict, cast

import torch
from torch import Tensor

from trainer.checkpoint import Checkpoint
from trainer.distributed import Ranks
from trainer.interfaces import Policy
from trainer.optimization import ExponentialAverage, NamedOptimizer, OptimizerState

log = logging.getLogger(__name__)


class TrainingState(TypedDict):
    """The content of ``training_state.pt``."""

    raw_weights: dict[str, Tensor] | None
    """The weights that training goes on with, where they are not the ones to act with."""
    optimizer: OptimizerState
    scaler: dict[str, object]
    rng: list[dict[str, Tensor]]
    """The generators of each rank."""
    step: int
    samples: int
    """How many there were to train on."""
    data_sha256: NotRequired[str]
    """What tells these data from others; older checkpoints do not say it."""


@dataclass(frozen=True)
class TrainedState:
    """All that a train step changes."""

    policy: Policy
    optimizer: NamedOptimizer
    average: ExponentialAverage | None
    scaler: torch.amp.GradScaler
    generator: torch.Generator
    ranks: Ranks

    def acting_components(self) -> dict[str, dict[str, Tensor]]:
        """Return copies, on the CPU, of the weights to act with, by component."""
        averaged = self.average.values if self.average else self.optimizer.averaged()
        acting: Mapping[str, Tensor] = self.policy.components.state_dict() | averaged
        return {
            name: {
                key: acting[f"{name}.{key}"].detach().cpu().clone()
                for key in component.state_dict()
            }
            for name, component in self.policy.components.items()
        }

    def capture(self, step: int, samples: int, data_sha256: str) -> TrainingState:
        """Return the training state, on rank 0; every rank must call this."""
        averaging = self.average is not None or self.optimizer.recipe.averages_weights
        return {
            "raw_weights": self.policy.components.state_dict() if averaging else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": self.ranks.gather_objects(self._rng_state()),
            "step": step,
            "samples": samples,
            "data_sha256": data_sha256,
        }

    def restore(self, checkpoint: Checkpoint) -> TrainingState:
        """Take over what ``checkpoint`` holds, and return its training state.

        On another number of ranks, or another kind of device, the run goes on, but not bit for
        bit; that is said aloud.
        """
        state = cast(TrainingState, checkpoint.training_state())
        acting = {
            f"{name}.{key}": value
            for name in self.policy.components
            for key, value in checkpoint.component(name).items()
        }
        self.policy.components.load_state_dict(state["raw_weights"] or acting)
        if self.average:
            self.average.load(acting)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if change := self._change_since(state["rng"]):
            if self.ranks.is_main:
                log.warning(
                    "%s: it goes on from the same weights, but not with the same bits", change
                )
        else:
            self._set_rng_state(state["rng"][self.ranks.rank])
        return state

    def _change_since(self, rng: Sequence[Mapping[str, Tensor]]) -> str | None:
        """Return what keeps generators of a checkpoint from going on here, None if nothing does."""
        if len(rng) != self.ranks.world_size:
            saved_on, now = f"{len(rng)} ranks", str(self.ranks.world_size)
        elif ("cuda" in rng[0]) != (self.ranks.device.type == "cuda"):
            saved_on, now = "cuda" if "cuda" in rng[0] else "cpu", self.ranks.device.type
        else:
            return None
        return f"the checkpoint was saved on {saved_on} and this run has {now}"

    def _rng_state(self) -> dict[str, Tensor]:
        state = {"torch": torch.get_rng_state(), "noise": self.generator.get_state()}
        if self.ranks.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.ranks.device)
        return state

    def _set_rng_state(self, state: dict[str, Tensor]) -> None:
        torch.set_rng_state(state["torch"])
        self.generator.set_state(state["noise"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.ranks.device)
