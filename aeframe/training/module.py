"""LightningModule of a run, for every variant and constraint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import Metric

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.constraints.constraint import Step
from aeframe.core.distributed import begin_batch, count_own_rows
from aeframe.core.noise import Noise, mix_seed
from aeframe.core.schedules import Clock
from aeframe.data import Batch, DataModule
from aeframe.evaluation.metrics import Metrics
from aeframe.models.output import Output
from aeframe.training.checkpointing import collect_metrics, restore_metrics
from aeframe.training.divergence import Guard, explain_outlier, make_divergence
from aeframe.training.epoch import Epoch, describe_epoch
from aeframe.training.learning_rates import advance_schedule
from aeframe.training.loop_position import completes_step
from aeframe.training.scalars import Noted, Scalars, measure
from aeframe.training.schedule_lengths import check_covers
from aeframe.training.train_batches import TrainBatches

MakeOptimizer = Callable[[Any], Optimizer]
MakeScheduler = Callable[[Optimizer], Any]


class AutoencoderModule(pl.LightningModule):
    """LightningModule of a constrained autoencoder. It knows no variant and no constraint.

    seed: all randomness is a function of the seed, the epoch, the batch and the rank. guard: checks losses.
    log_every_n_steps: steps from one logged step to the next. scheduler_options: Lightning's (`interval`,
    `monitor`, ...). hyperparameters: plain data, saved in every checkpoint. metrics: those of plug-ins.
    """

    def __init__(
        self,
        net: ConstrainedAutoencoder,
        data: DataModule,
        *,
        seed: int,
        optimizer: MakeOptimizer,
        guard: Guard,
        log_every_n_steps: int,
        scheduler: MakeScheduler | None = None,
        scheduler_options: Mapping[str, Any] | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        super().__init__()
        self.net, self.data, self.seed, self.guard = net, data, seed, guard
        low, high = data.spec.written.get_range(net.written_normalization)
        self.metrics = Metrics(net, high - low, metrics)
        self.log_every_n_steps = log_every_n_steps
        self.epoch = Epoch(0, 1, 0.0, log_every_n_steps, 0, 1)
        self._optimizer, self._scheduler = optimizer, scheduler
        self._scheduler_options = dict(scheduler_options or {})
        self._drops = any(isinstance(layer, nn.Dropout) for layer in net.modules())
        self._known: Mapping[str, float] = {}  # metrics of an earlier process's last validation
        self._done = 0, 0  # epoch, and its batches that an earlier process trained on
        self.train_batches: TrainBatches | None = None
        self.scalars = Scalars()
        self.noted: Noted | None = None
        self.save_hyperparameters(dict(hyperparameters or {}), logger=False)

    def _make_batches(
        self, split: str, *, training: bool = False, large: bool = False
    ) -> Iterable[Batch]:
        return self.data.make_loader(
            split,
            training=training,
            most=self.net.most_rows if large else 0,
            rank=self.global_rank,
            world=self.trainer.world_size,
            device=self.device,
        )

    @property
    def waited(self) -> float:
        """Seconds of this process in which training waited for a batch."""
        return 0.0 if self.train_batches is None else self.train_batches.waited

    def train_dataloader(self) -> TrainBatches:
        loader: Any = self._make_batches("train", training=True)
        loader.sampler.begun = self._done
        self.train_batches = TrainBatches(loader)
        return self.train_batches

    def val_dataloader(self) -> Iterable[Batch]:
        if "val" not in self.data.splits:
            return ()
        # a limit counts batches of the usual size
        return self._make_batches("val", large=self.trainer.limit_val_batches == 1.0)

    def test_dataloader(self) -> Iterable[Batch]:
        return self._make_batches("test", large=self.trainer.limit_test_batches == 1.0)

    def make_optimizer(
        self, weights: list[nn.Parameter], lengths: Mapping[str, int] | None = None
    ) -> tuple[Optimizer, Any]:
        """Make optimizer and scheduler for these weights. lengths: of the schedule, else as configured."""
        optimizer = self._optimizer(weights)
        return optimizer, self._scheduler and self._scheduler(optimizer, **(lengths or {}))

    def configure_optimizers(self) -> Any:
        self.trained = [p for p in self.net.parameters() if p.requires_grad]
        optimizer, scheduler = self.make_optimizer(self.trained)
        if scheduler is None:
            return optimizer
        per_step = self._scheduler_options.get("interval") == "step"
        takes_steps = "steps_per_epoch" in getattr(self._scheduler, "keywords", {})
        check_covers(scheduler, self.trainer, per_step=per_step, takes_steps=takes_steps)
        options = {"scheduler": scheduler, **self._scheduler_options}
        return {"optimizer": optimizer, "lr_scheduler": options}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | dict[str, Tensor]:
        loss = self.compute_loss(batch, batch_idx, self.trainer.global_step)
        if self.trainer.world_size == self.trainer.accumulate_grad_batches == 1:
            return loss
        weight = self.weigh(batch, batch_idx)
        return {"loss": loss if weight == 1 else loss * weight, "unweighted": loss.detach()}

    def weigh(self, batch: Batch, batch_idx: int) -> float:
        """Compute the factor of a batch's loss that gives each sample of a step the same weight.

        Lightning averages over ranks and over accumulated batches, which may have unequal sizes.
        """
        rank, world = self.global_rank, self.trainer.world_size
        together, size = self.trainer.accumulate_grad_batches, self.data.batch_size
        first = batch_idx - batch_idx % together
        last = min(first + together, int(self.trainer.num_training_batches))
        rows = min(last * size, len(self.data.splits["train"])) - first * size
        return count_own_rows(batch.total, rank, world) * world * together / rows

    def compute_loss(self, batch: Batch, batch_idx: int, step: int) -> Tensor:
        """Compute the loss of a batch for the optimizer's next step, after `step` steps."""
        rank, world = self.epoch.rank, self.epoch.world
        if world > 1:
            begin_batch(batch.total)
            rank = rank if rank < batch.total else 0  # without a row of its own it has the first
        key = (self.seed, "train", self.epoch.number, batch_idx)
        noise = Noise(*key, rank=rank, world=world, rows=batch.total)
        if self._drops:  # dropout draws from the global stream
            torch.manual_seed(mix_seed(*noise.key, rank))
        moves, target = noise.derive_stream("augment"), batch.target
        x = self.data.augmentation(batch.x, moves)
        if target is not None:
            target = self.net.normalize_target(self.data.augmentation.move(target, moves))
        output = self.net(self.net.normalization(x), noise=noise, target=target)
        self.net.observe(output)
        loss = output.loss
        if self.checks_each_loss or self.guard.first is None:  # others are compared with the first
            self.check(loss.item(), output, step, batch)
        # of accumulated batches the last is logged
        if (step + 1) % self.epoch.logged == 0 and completes_step(self.trainer):
            self.noted = Noted(output, loss, step, batch)
        return loss

    @property
    def checks_each_loss(self) -> bool:
        """Check each loss, not only logged ones; training on a GPU would have to wait for each."""
        return self.device.type != "cuda"

    def differentiate(self, loss: Tensor, optimizer: Optimizer) -> None:
        """Compute the gradients for the optimizer's step."""
        for weight in self.trained:  # as optimizer.zero_grad(), which takes longer
            weight.grad = None
        loss.backward()
        if self.net.list_having("before_step") or self.noted is not None:
            self.on_before_optimizer_step(optimizer)
        if value := self.trainer.gradient_clip_val:
            self.clip_gradients(optimizer, value, self.trainer.gradient_clip_algorithm)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.scalars.send(self.trainer.loggers)

    def check(self, loss: float, output: Output, step: int, batch: Batch) -> None:
        """Raise DivergenceError for a loss that is NaN or exploded."""
        if complaint := self.guard.find_complaint(loss):
            terms = {name: term.value.item() for name, term in output.terms.items()}
            remedy, rows = explain_outlier([batch], self.net), batch.row.tolist()
            unseen = self._count_unseen(step)
            raise make_divergence(complaint, terms, step, "", rows, unseen, remedy)

    def _count_unseen(self, step: int) -> int:
        """Count the steps right before one whose losses may not have been checked."""
        return 0 if self.checks_each_loss else min(step, self.epoch.logged - 1)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        # counted after this hook
        self.after_step(self.trainer.optimizers[0], self.trainer.global_step + 1)

    def after_step(self, optimizer: Optimizer, steps: int) -> None:
        """Let constraints change the weights after the optimizer's step. steps: done by now."""
        net, clock = self.net, Clock(steps, steps / self.epoch.steps)
        net.set_clock(clock)
        for name, part in net.list_having("after_step"):
            stream = Noise(self.seed, "after_step", steps - 1, name)
            part.after_step(Step(net.model, optimizer, clock, stream, net.restart))

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        for _, part in self.net.list_having("before_step"):
            part.before_step(self.net.model)
        self._write_scalars()

    def _write_scalars(self) -> None:
        """Write the noted step, whose gradients are computed, and not clipped yet."""
        if self.noted is None:
            return
        (output, loss, step, batch), self.noted = self.noted, None
        numbers = measure(output, loss, self.trained, self.trainer, is_sparse=self.net.is_sparse)
        if not self.checks_each_loss:
            self.check(numbers["train/loss"], output, step, batch)
        self.scalars.write(numbers, step, self.epoch, self.waited, self.trainer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["callback_metrics"] = collect_metrics(self.trainer)
        checkpoint["guard"] = self.guard.state_dict()
        streamed = self.data.splits["train"].is_streamed
        checkpoint["data"] = {**self.data.as_dict(), "streamed": streamed}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        self._known = checkpoint["callback_metrics"]
        self._done = checkpoint["epoch"], batches["current"]["ready"]
        self.guard.load_state_dict(checkpoint["guard"])

    def on_train_start(self) -> None:
        restore_metrics(self.trainer, self._known)  # Lightning clears them before this hook
        schedules = [config.scheduler for config in self.trainer.lr_scheduler_configs]
        for optimizer, schedule in zip(self.trainer.optimizers, schedules, strict=False):
            if advance_schedule(optimizer, schedule, self.make_optimizer):
                self.guard.applied = 0  # the rates are those of the plain schedule
        self.guard.slow_down(self.trainer.optimizers, schedules)

    def on_train_epoch_start(self) -> None:
        self.epoch = describe_epoch(
            self.trainer,
            samples=len(self.data.splits["train"]),
            batch_size=self.data.batch_size,
            log_every_n_steps=self.log_every_n_steps,
        )
        step = self.trainer.global_step
        self.net.set_clock(Clock(step, step / self.epoch.steps))
        self.scalars.begin(step, self.waited)

    def on_validation_epoch_start(self) -> None:
        self.metrics.reset("val")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, "val", batch_idx)

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def on_test_epoch_start(self) -> None:
        self.metrics.reset("test")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, "test", batch_idx)

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def _evaluate(self, batch: Batch, split: str, batch_idx: int) -> None:
        """Add a batch to the metrics: errors from the clean input, the loss as in training."""
        rank, world = self.global_rank, self.trainer.world_size
        if batch_idx == 0:
            self.metrics.count_dead(self.data, rank=rank, world=world)
        noise = Noise(self.seed, split, batch_idx, rank=rank, world=world, rows=batch.total)
        net, x = self.net, self.net.normalization(batch.x)
        target = net.normalize_target(batch.target)
        clean = net(x, noise=noise, as_trained=False, target=target)
        random = net.has_corruption or net.is_stochastic
        self.metrics.update(clean, net(x, noise=noise, target=target) if random else clean)

    def _log_metrics(self, split: str) -> None:
        found = self.metrics.compute()
        if not math.isfinite(found["loss"]):
            terms = {name: found[name] for name in self.net.term_names}
            complaint, where = f"became {found['loss']}", f", on the {split} split"
            to_device = partial(self.trainer.strategy.batch_to_device, dataloader_idx=0)
            batches, step = map(to_device, self._make_batches(split)), self.global_step
            remedy, unseen = explain_outlier(batches, self.net), self._count_unseen(step)
            raise make_divergence(complaint, terms, step, where, [], unseen, remedy)
        values = {f"{split}/{name}": value for name, value in found.items()}
        self.log_dict(values, logger=False, rank_zero_only=False, sync_dist=False)
        if split == "val":  # a number is no curve
            values.pop(f"val/{self.net.lone_term}", None)
            self.scalars.write_validation(values, self.epoch.number, self.trainer)
