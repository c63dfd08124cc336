"""Who acts in which iteration: the teacher, the student, or a blend of the two."""

from __future__ import annotations

from dataclasses import dataclass

from data_collection.distillation.schema import AlgorithmConfig

_WIDTH = 80


@dataclass(frozen=True)
class Phase:
    """The stage of one iteration."""

    number: int
    """1: teacher actions; 2: student actions."""
    student_share: float
    """How large a share of the steps the student takes."""
    begun: int
    """The iteration in which the stage began."""
    iterations: int
    """How many iterations the stage has."""


class Phases:
    """The stages of a run; iterations are counted from 0.

    Args:
        config: Says which there are.
        iterations: Of the whole run.
    """

    def __init__(self, config: AlgorithmConfig, iterations: int) -> None:
        self.switch = config.phase1_iterations if config.use_two_stage_training else 0
        self.blend = config.blend_iterations if config.use_two_stage_training else 0
        self.iterations = iterations

    def at(self, iteration: int) -> Phase:
        """Return the stage of an iteration."""
        if iteration < self.switch:
            return Phase(1, 0.0, 0, self.switch)
        share = min(1.0, (iteration - self.switch + 1) / (self.blend + 1))
        return Phase(2, share, self.switch, self.iterations - self.switch)

    def banner(self, iteration: int) -> str | None:
        """Return what to show at the beginning of an iteration in which the stage changes.

        What is shown counts from 1, as reports, figures and checkpoints do.
        """
        if iteration == 0 or iteration != self.switch:
            return None
        lines = [
            "SWITCHING TO PHASE 2: Now using STUDENT actions to update environment",
            f"Iteration: {iteration + 1}",
        ]
        if self.blend:
            lines.append(f"The student takes over within {self.blend} iterations")
        rule = "=" * _WIDTH
        return "\n".join([rule, *(line.center(_WIDTH).rstrip() for line in lines), rule])


def describe(phase: Phase, iteration: int) -> list[str]:
    """Return the lines that say where a run stands after ``iteration`` (counted from 0)."""
    if phase.number == 1:
        who = "teacher actions"
    elif phase.student_share < 1:
        who = f"student actions in {phase.student_share:.0%} of the steps"
    else:
        who = "student actions"
    return [
        f"Training Phase: Phase {phase.number} ({who})",
        f"Phase Iteration: {iteration - phase.begun + 1}/{phase.iterations} (Phase {phase.number})",
    ]
