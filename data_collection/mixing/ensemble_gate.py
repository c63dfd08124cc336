"""The student acts only where an ensemble is sure and near the teacher (EnsembleDAgger)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import PositiveFloat

from data_collection.mixing import Mixing, mixings
from data_collection.teachers import Teacher
from data_collection.teachers.policy_checkpoint import PolicyCheckpoint
from trainer.environment import Environment, Observation


@mixings.register("ensemble_gate")
class EnsembleGate(Mixing):
    """Menda, Driggs-Campbell & Kochenderfer (2019), algorithm 2.

    The student acts when ``|mean - label|`` is at most ``discrepancy`` and the largest variance
    over the ensemble is at most ``variance``; otherwise the teacher does.

    Args:
        root: The project root.
        members: Checkpoints of the other members; the acting student is one as well.
        discrepancy: Largest Euclidean distance to the label, action units.
        variance: Largest variance of an action dimension over the members, action units squared.
    """

    def __init__(
        self, root: Path, *, members: list[str], discrepancy: PositiveFloat, variance: PositiveFloat
    ) -> None:
        self.members: Sequence[Teacher] = [PolicyCheckpoint(root, path=path) for path in members]
        self.discrepancy = discrepancy
        self.variance = variance

    def reset(self, environment: Environment) -> None:
        """Have the members begin anew."""
        for member in self.members:
            member.reset(environment)

    def checkpoints(self) -> dict[str, str | None]:
        """Return the members' weights."""
        return {f"members[{i}]": member.checkpoint for i, member in enumerate(self.members)}

    def teacher_acts(
        self,
        environment: Environment,
        observation: Observation,
        label: np.ndarray,
        planned: np.ndarray,
        *,
        step: int,
        episode_draw: float,
        generator: np.random.Generator,
    ) -> bool:
        """Return whether the ensemble doubts, or is far from the teacher."""
        others = [member.act(environment, observation, generator) for member in self.members]
        votes_na = np.stack([planned, *others])
        far = float(np.linalg.norm(votes_na.mean(0) - label)) > self.discrepancy
        return far or float(votes_na.var(0).max()) > self.variance
