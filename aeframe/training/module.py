"""The loop: one LightningModule for every variant and every constraint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.constraints.constraint import Step
from aeframe.core.distributed import begin_batch, count_own_rows
from aeframe.core.noise import Noise, mix_seed
from aeframe.core.schedules import Clock
from aeframe.data import Batch, DataModule
from aeframe.evaluation.metrics import Metrics
from aeframe.models.autoencoder import Output
from aeframe.training.checkpointing import metrics_of, restore_metrics
from aeframe.training.divergence import Guard, diverged, outlier
from aeframe.training.epoch import Epoch, present_epoch
from aeframe.training.learning_rates import follow
from aeframe.training.loop_position import completes_step
from aeframe.training.scalars import Noted, Scalars, measure
from aeframe.training.schedule_lengths import check_covers
from aeframe.training.train_batches import TrainBatches

MakeOptimizer = Callable[[Any], Optimizer]
MakeScheduler = Callable[[Optimizer], Any]


class AutoencoderModule(pl.LightningModule):
    """Trains a constrained autoencoder; knows no variant and no constraint.

    seed: all randomness is a function of it, the epoch, the batch and the rank. guard: what looks
    at the losses. log_every_n_steps: between two steps that are
    written. scheduler_options: Lightning's (`interval`, `monitor`, ...). hyperparameters: plain data, saved
    in every checkpoint.
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
    ) -> None:
        super().__init__()
        self.net, self.data, self.seed, self.guard = net, data, seed, guard
        low, high = data.spec.range_in(net.normalization)
        self.metrics = Metrics(net, high - low)
        self.log_every_n_steps = log_every_n_steps
        self.epoch = Epoch(0, 1, 0.0, log_every_n_steps, 0, 1)
        self._optimizer, self._scheduler = optimizer, scheduler
        self._scheduler_options = dict(scheduler_options or {})
        self._drops = any(isinstance(layer, nn.Dropout) for layer in net.modules())
        self._known: Mapping[str, float] = {}  # the last validation's metrics in an earlier process
        self._done = 0, 0  # batches of which epoch, in an earlier process
        self.train_batches: TrainBatches | None = None
        self.scalars = Scalars()
        self.noted: Noted | None = None
        self.save_hyperparameters(dict(hyperparameters or {}), logger=False)

    def noise(self, *key: int | str, rows: int | None = None) -> Noise:
        """The share of this rank in the random numbers of one moment. rows: of the global batch."""
        rank, world = self.global_rank, self.trainer.world_size
        return Noise(self.seed, *key, rank=rank, world=world, rows=rows)

    def _batches(
        self, split: str, *, training: bool = False, large: bool = False
    ) -> Iterable[Batch]:
        return self.data.loader(
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
        loader: Any = self._batches("train", training=True)
        loader.sampler.begun = self._done
        self.train_batches = TrainBatches(loader)
        return self.train_batches

    def val_dataloader(self) -> Iterable[Batch]:
        if "val" not in self.data.splits:
            return ()
        # a limit counts batches of the usual size
        return self._batches("val", large=self.trainer.limit_val_batches == 1.0)

    def test_dataloader(self) -> Iterable[Batch]:
        return self._batches("test", large=self.trainer.limit_test_batches == 1.0)

    def optimizer_and_schedule(
        self, weights: list[nn.Parameter], lengths: Mapping[str, int] | None = None
    ) -> tuple[Optimizer, Any]:
        """Make both for these weights. lengths: of the schedule, where not the configuration's."""
        optimizer = self._optimizer(weights)
        return optimizer, self._scheduler and self._scheduler(optimizer, **(lengths or {}))

    def configure_optimizers(self) -> Any:
        self.trained = [p for p in self.net.parameters() if p.requires_grad]
        optimizer, scheduler = self.optimizer_and_schedule(self.trained)
        if scheduler is None:
            return optimizer
        per_step = self._scheduler_options.get("interval") == "step"
        takes_steps = "steps_per_epoch" in getattr(self._scheduler, "keywords", {})
        check_covers(scheduler, self.trainer, per_step=per_step, takes_steps=takes_steps)
        options = {"scheduler": scheduler, **self._scheduler_options}
        return {"optimizer": optimizer, "lr_scheduler": options}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | dict[str, Tensor]:
        loss = self.loss(batch, batch_idx, self.trainer.global_step)
        if self.trainer.world_size == self.trainer.accumulate_grad_batches == 1:
            return loss
        weight = self.weight_of(batch, batch_idx)
        return {"loss": loss if weight == 1 else loss * weight, "unweighted": loss.detach()}

    def weight_of(self, batch: Batch, batch_idx: int) -> float:
        """By how much a batch's loss counts more than the average over ranks and over the batches of a step,
        which is what becomes of it: so that each row counts alike.
        """
        rank, world = self.global_rank, self.trainer.world_size
        together, size = self.trainer.accumulate_grad_batches, self.data.batch_size
        first = batch_idx - batch_idx % together
        last = min(first + together, int(self.trainer.num_training_batches))
        rows = min(last * size, len(self.data.splits["train"])) - first * size
        return count_own_rows(batch.total, rank, world) * world * together / rows

    def loss(self, batch: Batch, batch_idx: int, step: int) -> Tensor:
        """The loss of the batch that the optimizer's next step is to be taken on, after `step` steps."""
        epoch = self.epoch
        rank, world = epoch.rank, epoch.world
        if world > 1:
            begin_batch(batch.total)
            rank = (
                rank if rank < batch.total else 0
            )  # without a row of its own it is given the first
        key = (self.seed, "train", epoch.number, batch_idx)
        noise = Noise(*key, rank=rank, world=world, rows=batch.total)
        if self._drops:  # dropout draws from the global stream
            torch.manual_seed(mix_seed(*noise.key, rank))
        output = self.observed(batch.x, noise)
        loss = output.loss
        if (
            self.sees_each_loss or self.guard.first is None
        ):  # the first is what others are compared with
            self.check(loss.item(), output, step, batch)
        # the last batch of a step speaks
        if self.logs(step) and completes_step(self.trainer):
            self.noted = Noted(output, loss, step, batch)
        return loss

    @property
    def sees_each_loss(self) -> bool:
        """Whether each loss is looked at, and not only those that are logged: a GPU would be waited for."""
        return self.device.type != "cuda"

    def observed(self, x: Tensor, noise: Noise) -> Output:
        """A training step's pass over raw x, counted by the constraints."""
        output = self.net(self.net.normalization(x), noise=noise)
        self.net.observe(output)
        return output

    def logs(self, step: int) -> bool:
        """Whether the values of the step that is taken after `step` steps are written."""
        return (step + 1) % self.epoch.logged == 0

    def differentiate(self, loss: Tensor, optimizer: Optimizer) -> None:
        """Give each weight the gradient that the optimizer's step is to see."""
        for weight in self.trained:  # optimizer.zero_grad() does no more, and takes longer
            weight.grad = None
        loss.backward()
        if self.net.having("before_step") or self.noted is not None:
            self.on_before_optimizer_step(optimizer)
        trainer = self.trainer
        if trainer.gradient_clip_val:
            self.clip_gradients(
                optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm
            )

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.scalars.send(self.trainer.loggers)

    def check(self, loss: float, output: Output, step: int, batch: Batch) -> None:
        """Raise DivergenceError for a loss that is of no use any more."""
        if complaint := self.guard.complaint(loss):
            terms = {name: term.value.item() for name, term in output.terms.items()}
            remedy, rows = outlier([batch], self.net.normalization), batch.row.tolist()
            raise diverged(complaint, terms, step, "", rows, self._unseen(step), remedy)

    def _unseen(self, step: int) -> int:
        """Of how many steps right before one the losses may not have been looked at."""
        return 0 if self.sees_each_loss else min(step, self.epoch.logged - 1)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        # counted after this hook
        self.after_step(self.trainer.optimizers[0], self.trainer.global_step + 1)

    def after_step(self, optimizer: Optimizer, steps: int) -> None:
        """Let the constraints change what the optimizer made of the weights in so many steps."""
        net, clock = self.net, Clock(steps, steps / self.epoch.steps)
        net.set_clock(clock)
        for name, part in net.having("after_step"):
            stream = Noise(self.seed, "after_step", steps - 1, name)
            part.after_step(Step(net.model, optimizer, clock, stream, net.restart))

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        for _, part in self.net.having("before_step"):
            part.before_step(self.net.model)
        self._write_scalars()

    def _write_scalars(self) -> None:
        """Write the step that was noted. Its gradients are there, and are not clipped."""
        if self.noted is None:
            return
        (output, loss, step, batch), self.noted = self.noted, None
        numbers = measure(output, loss, self.trained, self.trainer, is_sparse=self.net.is_sparse)
        if not self.sees_each_loss:
            self.check(numbers["loss"], output, step, batch)
        self.scalars.write(numbers, step, self.epoch.images, self.waited, self.trainer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["callback_metrics"] = metrics_of(self.trainer)
        checkpoint["guard"] = self.guard.state_dict()
        checkpoint["data"] = self.data.as_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        self._known = checkpoint["callback_metrics"]
        self._done = checkpoint["epoch"], batches["current"]["ready"]
        self.guard.load_state_dict(checkpoint["guard"])

    def on_train_start(self) -> None:
        restore_metrics(self.trainer, self._known)  # Lightning forgets them until now
        schedules = [config.scheduler for config in self.trainer.lr_scheduler_configs]
        for optimizer, schedule in zip(self.trainer.optimizers, schedules, strict=False):
            if follow(optimizer, schedule, self.optimizer_and_schedule):
                self.guard.applied = 0  # the rates are those of the plain schedule
        self.guard.slow_down(self.trainer.optimizers, schedules)

    def on_train_epoch_start(self) -> None:
        self.epoch = present_epoch(
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
        """Clean and deterministic for the reconstruction; corrupted and sampled for the loss."""
        if batch_idx == 0:
            self.metrics.count_dead(self.data, rank=self.global_rank, world=self.trainer.world_size)
        noise = self.noise(split, batch_idx, rows=batch.total)
        x = self.net.normalization(batch.x)
        clean = self.net(x, noise=noise, as_trained=False)
        random = self.net.has_corruption or self.net.is_stochastic
        self.metrics.update(clean, self.net(x, noise=noise) if random else clean)

    def _log_metrics(self, split: str) -> None:
        found = self.metrics.compute()
        if not math.isfinite(found["loss"]):
            terms = {name: found[name] for name in self.net.term_names}
            complaint, where = f"became {found['loss']}", f", on the {split} split"
            to_device = partial(self.trainer.strategy.batch_to_device, dataloader_idx=0)
            batches, step = map(to_device, self._batches(split)), self.global_step
            remedy = outlier(batches, self.net.normalization)
            raise diverged(complaint, terms, step, where, [], self._unseen(step), remedy)
        values = {f"{split}/{name}": value for name, value in found.items()}
        values["step"] = float(self.global_step)  # Lightning would write it one step earlier
        self.log_dict(values, rank_zero_only=False, sync_dist=False)
