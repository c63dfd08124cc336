"""A whole on-line distillation: collect, append to the history, learn, report; again and again."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from data_collection.distillation.acting_student import ActingStudent
from data_collection.distillation.collector import Collector
from data_collection.distillation.console import announce_history
from data_collection.distillation.lessons import LessonPlan, Lessons
from data_collection.distillation.make_history import make_history
from data_collection.distillation.phases import Phases
from data_collection.distillation.progress_report import ProgressReport
from data_collection.distillation.running_statistics import RunningStatistics
from data_collection.distillation.schema import DistillConfig
from data_collection.distillation.setting import Setting
from data_collection.distillation.snapshot import (
    Part,
    clear_pending,
    read_snapshot,
    write_snapshot,
)
from data_collection.distillation.student import DISTILLATION
from data_collection.distillation.vec_env import SavesState
from trainer.checkpoint import INTERRUPT, METRICS, Checkpoint
from trainer.config import Loaded
from trainer.distributed import Ranks
from trainer.interfaces import ACTION, STATE
from trainer.loop import TrainLoop
from trainer.normalization import AffineNormalizer
from trainer.pruning import prune_checkpoints
from trainer.review import Reviewer
from trainer.seeding import stream_seed
from trainer.stopping import Interrupted, StopRequest
from trainer.yaml_file import to_yaml

_log = logging.getLogger(__name__)


class DistillationRunner:
    """Runs the iterations of one configuration; the trainer's loop takes the optimizer steps.

    Args:
        loaded: The configuration.
        plan: How the student learns.
        setting: Environment, observations, teacher.
        loop: The student's training, at its first step or where it is resumed.
        ranks: This process's place among the ranks.
    """

    def __init__(
        self,
        loaded: Loaded[DistillConfig],
        plan: LessonPlan,
        setting: Setting,
        loop: TrainLoop,
        ranks: Ranks,
    ) -> None:
        self.loaded, self.config = loaded, loaded.config
        self.loop, self.ranks, self.setting = loop, ranks, setting
        self.iteration = 0
        """Iterations done."""
        config, policy, device = self.config, loop.policy, ranks.device
        seed = config.seed if ranks.rank == 0 else stream_seed(config.seed, "rank", ranks.rank)
        self.phases = Phases(config.algorithm, config.iterations)
        generator = torch.Generator(device).manual_seed(stream_seed(seed, "collection"))
        self.student = ActingStudent(policy, loop.run.interface, config.num_envs, generator, device)
        self.history = make_history(loaded, policy, plan, device)
        self.lessons = Lessons(self.history, plan, self.student.remember, seed)
        self.statistics = {
            STATE: RunningStatistics(config.interface.state, ranks),
            ACTION: RunningStatistics(config.interface.action, ranks),
        }
        if isinstance(policy.normalizer, AffineNormalizer):  # a checkpoint's, equal on all ranks
            for key, statistics in self.statistics.items():
                statistics.start_from(policy.normalizer.statistics[key])
        self.collector = Collector(
            setting.env,
            setting.teacher,
            self.student,
            self.history,
            sees=setting.sees,
            knows=setting.knows,
            generator=generator,
        )
        self.seconds_in_all = {"collection": 0.0, "learning": 0.0}
        """What this process spent on each."""
        if loop.resumed_from:
            self._resume(loop.resumed_from)

    def run(self) -> None:
        """Run to the last iteration.

        Raises:
            DataError: The environment gave values that are not finite.
            TrainingDivergedError: A loss or gradient was not finite.
            Interrupted: SIGTERM or Ctrl-C; ``interrupt/`` was saved.
        """
        announce_history(self.history, self.config.algorithm.use_dagger)
        self.loop.prepare()
        report = ProgressReport(self)
        self._prune()  # as a crash may have prevented
        acting = self.loop.state.acting_components
        with (
            Reviewer(self.loop.run, self.ranks, acting, self.iteration) as reviewer,
            StopRequest() as stop,
        ):
            while self.iteration < self.config.iterations:
                self.iterate()
                report.review(reviewer)
                asked = torch.tensor(float(stop.signal_number), device=self.ranks.device)
                stopping = bool(self.ranks.all_reduce_sum(asked))
                last = self.iteration == self.config.iterations
                saved = last or self.iteration % self.config.train.save_every == 0
                if saved:
                    self._save(f"epoch_{self.iteration}", reviewer.metrics)
                    self._prune()
                elif stopping:
                    self._save(INTERRUPT)
                if stopping and not last:
                    raise Interrupted(
                        stop.signal_number or 15,
                        f"stopped after iteration {self.iteration} of {self.config.iterations} and "
                        "saved; start the same command again to go on",
                    )

    def iterate(self) -> None:
        """Do one iteration: collect, append, and learn from what is drawn."""
        banner = self.phases.banner(self.iteration)
        if banner and self.ranks.is_main:
            _log.info("%s", banner)
        start = time.perf_counter()
        self.loop.policy.eval()
        rows_tnw = self.collector.collect(self.phases.at(self.iteration))
        fields = self.history.ring.split(rows_tnw.flatten(0, 1))
        for key, statistics in self.statistics.items():
            statistics.add(fields[key].float())
        self._normalize()
        collected = time.perf_counter()
        self.loop.set_training_mode()
        batches = self.lessons.batches(self.iteration)
        for _ in range(self.lessons.count):
            self.loop.train_step(batches)
        # The host's one wait for what a GPU has learnt, so that its seconds count as learning.
        self.loop.guard.check(self.loop.save_dir)
        self.iteration += 1
        self.seconds_in_all["collection"] += collected - start
        self.seconds_in_all["learning"] += time.perf_counter() - collected

    def _normalize(self) -> None:
        normalizer = self.loop.policy.normalizer
        if isinstance(normalizer, AffineNormalizer):
            normalizer.update({key: value.statistics() for key, value in self.statistics.items()})

    # ---- checkpoints ---------------------------------------------------------------

    def _parts(self) -> dict[str, Part]:
        """Return all that a checkpoint holds beside the student."""
        parts: dict[str, Part] = {
            f"statistics.{key}": value for key, value in self.statistics.items()
        }
        if self.config.algorithm.save_buffer:
            parts["history"] = self.history
        if isinstance(self.setting.env, SavesState):
            # The environment first: the collector asks it for its observations.
            parts |= {"environment": self.setting.env, "collector": self.collector}
        return parts

    def _resume(self, checkpoint: Checkpoint) -> None:
        """Go on where a checkpoint was saved."""
        self.iteration = checkpoint.epoch
        read_snapshot(checkpoint, self.ranks, self._parts())
        self._normalize()
        if not self.config.algorithm.save_buffer:
            _log.warning("the history was not saved (save_buffer: false): it begins empty")
        if not isinstance(self.setting.env, SavesState):
            _log.warning(
                "the environment cannot save its state: its episodes begin anew, so the run does "
                "not go on with the same bits"
            )

    def _prune(self) -> None:
        if self.ranks.is_main:
            prune_checkpoints(self.loop.save_dir, self.config.train.checkpoints)

    def _save(self, name: str, metrics: Mapping[str, float] | None = None) -> None:
        """Write a checkpoint, with the figures of its review, which came before it, in one."""
        save_dir: Path = self.loop.save_dir
        texts = {DISTILLATION: to_yaml(self.loaded.resolved)}
        if metrics is not None:
            texts[METRICS] = json.dumps(dict(metrics), indent=1) + "\n"
        files = write_snapshot(save_dir, self.ranks, self._parts(), texts)
        self.loop.save(name, self.iteration, files)
        if self.ranks.is_main:
            clear_pending(save_dir)
