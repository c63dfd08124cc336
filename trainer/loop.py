"""The train step and the epoch loop. Nothing else in the project steps an optimizer."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from trainer.checkpoint import INTERRUPT, Checkpoint, save_checkpoint
from trainer.distributed import Ranks
from trainer.errors import CheckpointError
from trainer.guard import GradientGuard
from trainer.interfaces import ACTION, Batch, LossOutput, Progress
from trainer.loading import load_batches
from trainer.memory import keep_freed_memory
from trainer.meter import Meter
from trainer.ops import to_device
from trainer.optimization import ExponentialAverage, NamedOptimizer, parameter_groups
from trainer.progress import progress_bar
from trainer.pruning import prune_checkpoints
from trainer.review import Reviewer
from trainer.run import Run
from trainer.sampling import SampleOrder, steps_per_pass
from trainer.seeding import stream_seed
from trainer.snapshot import TrainedState
from trainer.stopping import Interrupted, StopRequest

log = logging.getLogger(__name__)

_PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TrainLoop:
    """Trains one run from its first (or resumed) step to its last."""

    def __init__(self, run: Run, ranks: Ranks) -> None:
        self.run = run
        self.config = run.config.train
        self.ranks = ranks
        self.policy = run.policy
        self.resumed_from: Checkpoint | None = None
        self.step = 0
        self._logged_step: int | None = 0
        self.order = SampleOrder(
            run.training_samples,
            batch_size=run.config.data.batch_size,
            accumulate=self.config.accumulate,
            rank=ranks.rank,
            world_size=ranks.world_size,
            seed=run.config.seed,
            weights=run.training_weights,
        )
        if self.config.epochs is not None:
            self.steps_per_epoch = self.order.steps_per_pass
            self.total_steps = self.config.epochs * self.steps_per_epoch
            self.epochs_per_save = self.config.save_every
        else:
            self.steps_per_epoch = self.config.save_every
            self.total_steps = self.config.steps or 0
            self.epochs_per_save = 1
        groups = parameter_groups(self.policy, run.config.model.component_optims)
        self.optimizer = NamedOptimizer(run.recipe, self.policy, groups)
        self.average = (
            ExponentialAverage(self.policy.components, self.config.ema_decay)
            if self.config.ema_decay
            else None
        )
        fp16 = self.config.precision == "fp16"
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=fp16)
        self.guard = GradientGuard(
            self.policy, self.config.clip_grad_norm, ranks.device, may_overflow=fp16
        )
        self.generator = torch.Generator(device=ranks.device)
        self.generator.manual_seed(stream_seed(run.config.seed, "noise", ranks.rank))
        torch.manual_seed(stream_seed(run.config.seed, "dropout", ranks.rank))
        self.state = TrainedState(
            self.policy, self.optimizer, self.average, self.scaler, self.generator, ranks
        )
        self.meter = Meter(ranks)
        self.save_dir = run.save_dir
        self.wrapped = self.policy
        self.stop_signal = 0
        """The signal that asked to stop when nothing was left to train; 0: none."""

    # ---- the loop ------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether no step is left."""
        return self.step >= self.total_steps

    def train(self) -> None:
        """Train to the end.

        Raises:
            TrainingDivergedError: a loss or gradient was not finite.
            CheckpointError: a checkpoint could not be written.
            Interrupted: SIGTERM or Ctrl-C; ``interrupt/`` was saved.
        """
        self.prepare()
        with (
            contextlib.closing(self._batches()) as batches,  # workers end with the loop
            Reviewer(
                self.run, self.ranks, self.state.acting_components, self._logged_step
            ) as reviewer,
            StopRequest() as stop,
            self._progress_bar() as bar,
        ):
            reviewer.catch_up(
                self.step, self._epoch_just_ended(), last=self.step == self.total_steps
            )
            while self.step < self.total_steps:
                stopping = self.train_step(batches, stop.signal_number)
                bar.update()
                if self.step % self.config.log_every == 0 or self.step == self.total_steps:
                    self._report(reviewer, bar)
                epoch = self._epoch_just_ended()
                saved = self._end_epoch(epoch, reviewer) if epoch else False
                if stopping and self.step < self.total_steps:
                    if not saved:
                        self.save(INTERRUPT, self.step // self.steps_per_epoch)
                    raise Interrupted(
                        stop.signal_number or 15,
                        f"stopped at step {self.step} of {self.total_steps} and saved; start the "
                        "same command again to go on",
                    )
            self.stop_signal = stop.signal_number

    def prepare(self) -> None:
        """Compile and wrap the policy, as the configuration and the ranks ask; before any step."""
        if self.ranks.device.type == "cpu":
            keep_freed_memory()
        if self.config.compile:
            # The components, not the policy: a policy's forward draws noise and counts steps,
            # which would only break the graph. Names of weights stay as they are.
            for component in self.policy.components.values():
                component.compile()
        self.wrapped = self.ranks.wrap(self.policy)
        self.set_training_mode()

    def train_step(self, batches: Iterator[Batch], stop_signal: int = 0) -> bool:
        """Do one optimizer step; return whether any rank was asked to stop.

        A loss is a mean over its valid elements. With several ranks or micro-batches each is
        weighted by its share of all valid elements, so that the gradient is that of one big batch.
        """
        self.optimizer.set_learning_rate(self.step, self.total_steps)
        progress = Progress(self.step, self.total_steps, self.generator)
        alone = self.ranks.world_size == 1 and self.config.accumulate == 1
        weight_and_stop = torch.zeros(2, device=self.ranks.device)
        loss = weight_and_stop[0]
        for micro in range(self.config.accumulate):
            batch = self._next(batches)
            with self._gradient_sync(micro):
                with self._autocast():
                    output: LossOutput = self.wrapped(batch, progress)
                loss = output.loss
                if not alone:
                    weight_and_stop[0] += output.weight.detach()
                    loss = loss * (output.weight / self.run.config.data.batch_size)
                self.scaler.scale(loss).backward()
            self.meter.add(output, len(batch[ACTION]))
        stopping = bool(stop_signal)
        scale = None
        if not alone:
            weight_and_stop[1] = stop_signal
            self.ranks.all_reduce_sum(weight_and_stop)
            per_rank = weight_and_stop[0].clamp(min=1) / self.ranks.world_size
            scale = self.run.config.data.batch_size / per_rank
            if self.ranks.world_size > 1:
                stopping = self._may_look_at_device() and bool(weight_and_stop[1] > 0)
        self._apply_gradients(loss, scale)
        with torch.no_grad():
            self.policy.after_step(progress, self.optimizer)
        self.step += 1
        return stopping

    def _apply_gradients(self, loss: Tensor, scale: Tensor | None) -> None:
        self.scaler.unscale_(self.optimizer.torch)
        self.guard.clip(self.step, loss, scale)
        if self.ranks.device.type == "cpu":
            self.guard.check(self.save_dir, self.scaler.get_scale())
        self.scaler.step(self.optimizer.torch)
        self.scaler.update()
        self.optimizer.torch.zero_grad(set_to_none=True)
        if self.average:
            self.average.update(self.step)

    # ---- what surrounds a step -----------------------------------------------------------------

    def _batches(self) -> Generator[Batch]:
        return load_batches(
            self.run.dataset,
            self.order.from_step(self.step, self.total_steps),
            workers=self.run.config.data.num_workers,
            pin_memory=self.ranks.device.type == "cuda",
        )

    def _next(self, batches: Iterator[Batch]) -> Batch:
        start = time.perf_counter()
        batch = next(batches)
        self.meter.wait_s += time.perf_counter() - start
        batch = {key: to_device(value, self.ranks.device) for key, value in batch.items()}
        for augment in self.run.augmentations:
            batch = augment(batch, self.generator)
        return batch

    def set_training_mode(self) -> None:
        """Put the policy into training mode, except for what is frozen."""
        self.policy.train()
        for name, override in self.run.config.model.component_optims.items():
            if override.freeze:  # frozen batch statistics too
                self.policy.components[name].eval()

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        dtype = _PRECISIONS.get(self.config.precision)
        if dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.ranks.device.type, dtype)

    def _gradient_sync(self, micro: int) -> contextlib.AbstractContextManager[object]:
        last = micro == self.config.accumulate - 1
        if last or not isinstance(self.wrapped, torch.nn.parallel.DistributedDataParallel):
            return contextlib.nullcontext()
        return self.wrapped.no_sync()

    def _may_look_at_device(self) -> bool:
        """Whether reading a value now costs nothing (CPU) or is due anyway (logging)."""
        due = (self.step + 1) % self.config.log_every == 0 or self.step + 1 == self.total_steps
        return self.ranks.device.type == "cpu" or due

    # ---- reporting and saving ------------------------------------------------------------------

    def _progress_bar(self) -> tqdm:
        return progress_bar(
            total=self.total_steps,
            initial=self.step,
            description="/".join(self.run.save_dir.parts[-2:]),
            unit="step",
            disable=not self.ranks.is_main or self.finished,
        )

    def _report(self, reviewer: Reviewer, bar: tqdm) -> None:
        self.guard.check(self.save_dir, self.scaler.get_scale())
        values = self.meter.read() | {
            "train/learning_rate": self.optimizer.learning_rate,
            "train/gradient_norm": float(self.guard.norm),
            "train/epoch": self.step / self.steps_per_epoch,
        }
        reviewer.log(self.step, values)
        bar.set_postfix(
            loss=f"{values['train/loss']:.4g}",
            lr=f"{self.optimizer.learning_rate:.2g}",
            samples_s=f"{values['perf/samples_per_s']:,.0f}",
            wait=f"{values['perf/data_wait']:.0%}",
            refresh=False,
        )

    def _epoch_just_ended(self) -> int:
        """Return the number of completed epochs at an epoch's end (or the run's), else 0."""
        if self.step == 0 or (self.step % self.steps_per_epoch and self.step != self.total_steps):
            return 0
        return -(-self.step // self.steps_per_epoch)

    def _end_epoch(self, epoch: int, reviewer: Reviewer) -> bool:
        """Save where due, review, prune; return whether a checkpoint was saved."""
        last = self.step == self.total_steps
        save = last or epoch % self.epochs_per_save == 0
        if save:
            self.save(f"epoch_{epoch}", epoch)
        reviewer.review(self.step, epoch, last=last)
        if save:
            reviewer.record(epoch)
            if self.ranks.is_main:
                prune_checkpoints(self.run.save_dir, self.config.checkpoints)
        return save

    def save(self, name: str, epoch: int, attachments: Sequence[Path] = ()) -> None:
        """Write a checkpoint, into which ``attachments`` move; every rank must call this."""
        self.guard.check(self.save_dir, self.scaler.get_scale())
        training_state = self.state.capture(
            self.step, len(self.run.training_samples), self.run.data_sha256
        )
        if self.ranks.is_main:
            save_checkpoint(
                self.run.save_dir,
                name,
                components=self.state.acting_components(),
                training_state=training_state,
                texts=self.run.checkpoint_texts(),
                step=self.step,
                epoch=epoch,
                passes=self.step / self.steps_per_epoch,
                attachments=attachments,
            )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on exactly where ``checkpoint`` was saved.

        On another number of ranks a run of so many epochs goes on after as many passes over the
        data, which are not as many steps.

        Raises:
            CheckpointError: There are now other data to train on.
        """
        state = self.state.restore(checkpoint)
        samples, now = state["samples"], len(self.run.training_samples)
        before, data = state.get("data_sha256", self.run.data_sha256), self.run.data_sha256
        if (samples, before) != (now, data):
            others = f"{now}" if samples != now else "others, though as many,"
            raise CheckpointError(
                f"{checkpoint.folder} was trained on {samples} samples, and there are {others} "
                "now: put the data and their weights back, or train a new expN on them "
                "(train.load_dir warm-starts it)"
            )
        self.step = state["step"]
        if self.config.epochs is not None:
            of_a_rank = self.order.global_batch // self.ranks.world_size
            before = steps_per_pass(samples, of_a_rank * len(state["rng"]))
            self.step = self.step * self.steps_per_epoch // before
        self._logged_step = self.step
        if len(state["rng"]) != self.ranks.world_size:
            self._logged_step = None  # other ranks count steps otherwise: nothing is old
        self.resumed_from = checkpoint
