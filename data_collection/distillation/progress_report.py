"""What a distillation reports: figures of its iterations, and how the student does alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data_collection.distillation.console import announce_iteration
from data_collection.distillation.student_evaluation import Performance
from trainer.interfaces import Policy
from trainer.review import Reviewer

if TYPE_CHECKING:
    from data_collection.distillation.runner import DistillationRunner


class ProgressReport:
    """Reports on a runner from where it stands now.

    Args:
        runner: Whose iterations are reported.
    """

    def __init__(self, runner: DistillationRunner) -> None:
        self._runner = runner
        self._teacher: Performance | None = None
        self._reported = runner.iteration
        self._seconds_reported = dict(runner.seconds_in_all)

    def review(self, reviewer: Reviewer) -> None:
        """Log figures and evaluate, where the iteration that was done last is due."""
        runner = self._runner
        evaluation, last = runner.config.evaluation, runner.iteration == runner.config.iterations
        figures: dict[str, float] = {}
        if runner.iteration % runner.config.train.log_every == 0 or last:
            figures |= self._figures()
        reviewer.metrics = {}
        if (
            evaluation
            and (runner.iteration % evaluation.every == 0 or last)
            and runner.ranks.is_main
        ):
            reviewer.metrics = self._evaluate(reviewer.acting_policy())
            figures |= reviewer.metrics
        if not figures:
            return
        reviewer.log(runner.iteration, figures)
        if runner.ranks.is_main and "Loss/behavior" in figures:
            done = runner.iteration - 1
            dagger = runner.config.algorithm.use_dagger
            announce_iteration(done, runner.phases.at(done), runner.history, figures, dagger)

    def _figures(self) -> dict[str, float]:
        """Return the figures of the iterations since the last report, under their names."""
        runner = self._runner
        phase = runner.phases.at(runner.iteration - 1)
        iterations = runner.iteration - self._reported
        steps = iterations * runner.config.block * runner.ranks.world_size
        learnt = runner.loop.meter.samples * runner.ranks.world_size
        if runner.lessons.plan.has_memory:
            learnt *= runner.config.steps_per_iteration / len(runner.lessons.plan.parts)
        measured = runner.loop.meter.read()
        collection, learning = (
            spent - self._seconds_reported[name] for name, spent in runner.seconds_in_all.items()
        )
        self._seconds_reported = dict(runner.seconds_in_all)
        self._reported = runner.iteration
        return {
            "Distillation/training_phase": float(phase.number),
            "Distillation/student_share": phase.student_share,
            "Loss/behavior": measured["train/loss"],
            **runner.collector.episodes.figures(),
            **runner.collector.logged,
            "Perf/collection_fps": steps / collection,
            "Perf/learning_fps": learnt / learning,
            "Perf/total_fps": steps / (collection + learning),
            "Buffer/size": float(len(runner.history)),
            "Buffer/mean_age": (runner.history.blocks - 1) / 2,
            "Policy/learning_rate": runner.loop.optimizer.learning_rate,
            "Policy/gradient_norm": float(runner.loop.guard.norm),
        }

    def _evaluate(self, policy: Policy) -> dict[str, float]:
        """Return how the student does alone, and beside the teacher."""
        runner = self._runner
        if self._teacher is None:
            self._teacher = runner.setting.play_teacher()
        student = runner.setting.play_student(policy, runner.loop.run.interface)
        teacher = self._teacher
        figures = {
            "Evaluation/mean_reward": student.reward,
            "Evaluation/mean_episode_length": student.length,
            "Evaluation/teacher_reward": teacher.reward,
        }
        if teacher.reward > 0:  # of nothing, or of a cost, there is no share
            figures["Evaluation/share_of_teacher"] = student.reward / teacher.reward
        if student.success is not None and teacher.success is not None:
            figures["Evaluation/success_rate"] = student.success
            figures["Evaluation/teacher_success_rate"] = teacher.success
        return figures
