"""Optimizer steps between two of Lightning's, which take twice as long for a small network."""

from __future__ import annotations

import inspect
import sys
import time
from contextlib import nullcontext, suppress
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.plugins import Precision
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch.optim import Optimizer

from aeframe.data import Batch
from aeframe.training.lightning_adapter import EpochLoop
from aeframe.training.module import AutoencoderModule


class StepsAhead(pl.Callback):
    """Callback that takes further optimizer steps after each step of Lightning's, until `steps` are done.

    They are the steps that Lightning would take next, in the same order, with the same counts. Weights,
    schedules, logged values, checkpoints and limits do not depend on `steps`. Lightning itself takes the
    last step of an epoch, of training, and before a validation. Other callbacks wait until the steps are
    done, so training may exceed `max_time` by that time.

    steps: in one call of Lightning's; `auto`: as many as fit into `interval` seconds.
    """

    interval = 0.5
    hooks = (
        *("on_train_batch_start", "on_train_batch_end", "on_before_zero_grad"),
        *("on_before_backward", "on_after_backward", "on_before_optimizer_step"),
    )
    """Hooks that Lightning calls in each of its steps."""

    @classmethod
    def is_possible_with(cls, callback: pl.Callback) -> bool:
        """Check that another callback does not wait for each step."""
        return all(getattr(type(callback), h) is getattr(pl.Callback, h) for h in cls.hooks)

    def __init__(self, steps: int | Literal["auto"]) -> None:
        self.steps = steps
        self._started = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        assert isinstance(pl_module, AutoencoderModule)
        if self.steps == 1 or needs_lightning(trainer):
            return
        try:
            self._run_ahead(pl_module)
        except BaseException:
            with suppress(OSError):  # the end of training is reported, not the full disk
                pl_module.scalars.send(trainer.loggers)
            raise

    def _run_ahead(self, module: AutoencoderModule) -> None:
        ahead = _Ahead(module)
        done, before = 1, time.perf_counter()
        latest = before - self._started
        while self._has_room(done, before - self._started + latest) and ahead.is_free():
            ahead.step()
            now = time.perf_counter()
            latest, before, done = now - before, now, done + 1

    def _has_room(self, done: int, seconds: float) -> bool:
        return seconds < self.interval if self.steps == "auto" else done < self.steps


def needs_lightning(trainer: pl.Trainer) -> bool:
    """Check whether a step is more than backward() and step() on one device."""
    optimizer = trainer.optimizers[0]
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    plain = closure is not None and closure.default is None
    return (
        not isinstance(trainer.strategy, SingleDeviceStrategy)
        or trainer.accumulate_grad_batches != 1
        or getattr(trainer.precision_plugin, "scaler", None) is not None
        or not isinstance(trainer.profiler, PassThroughProfiler)  # type: ignore[attr-defined]
        or not plain
        or type(optimizer).zero_grad is not Optimizer.zero_grad
        # Lightning updates these after a validation, which would be after the steps ahead
        or any(c.reduce_on_plateau and c.interval == "step" for c in trainer.lr_scheduler_configs)
    )


class _Ahead:
    """Steps as Lightning takes them, with all its counts. Lookups that do not change are made once."""

    def __init__(self, module: AutoencoderModule) -> None:
        self.module, self.trainer = module, module.trainer
        self.loop: Any = self.trainer.fit_loop.epoch_loop
        self.batches = self.loop.batch_progress
        self.optimizer, self.steps = self.trainer.optimizers[0], self.trainer.global_step
        plugin = self.trainer.precision_plugin
        plain = type(plugin) is Precision  # its context does nothing, but takes time
        self.context = nullcontext if plain else plugin.train_step_context
        counted = self.loop.automatic_optimization.optim_progress.optimizer
        self.counter, self.zeroed = counted.step, counted.zero_grad
        # private: Lightning counts here which batch is an epoch's last, and no hook is given it
        self.fetcher: Any = self.trainer.fit_loop._data_fetcher
        self.device, self.schedules = module.device, bool(self.trainer.lr_scheduler_configs)
        every = self.trainer.val_check_batch
        self.validates_every = every if isinstance(every, int) else sys.maxsize

    def is_free(self) -> bool:
        """Check that Lightning has nothing else to do after this batch and the next."""
        trainer, seen = self.trainer, self.batches.current.ready
        last = seen + 1 >= trainer.num_training_batches or 0 <= trainer.max_steps <= self.steps + 1
        validates = 0 in (seen % self.validates_every, (seen + 1) % self.validates_every)
        return not (last or validates or trainer.should_stop or self.is_interrupted())

    def is_interrupted(self) -> bool:
        """Check whether a signal waits for the steps to end."""
        loop = self.loop
        return isinstance(loop, EpochLoop) and bool(loop.last.signals.received)

    def step(self) -> None:
        """Take one step."""
        module, loop, batches, optimizer = self.module, self.loop, self.batches, self.optimizer
        batch, _, _ = next(self.fetcher)
        if batch.x.device != self.device:
            batch = self.trainer.strategy.batch_to_device(batch, dataloader_idx=0)
        batches.increment_ready()
        batches.increment_started()
        self.counter.increment_ready()
        with self.context():
            loss = module.compute_loss(batch, batches.current.ready - 1, self.steps)
        module.differentiate(loss, optimizer)
        optimizer.step()
        self._count_gradients()
        self.steps += 1
        module.after_step(optimizer, self.steps)
        self.counter.increment_completed()
        batches.increment_processed()
        if self.schedules:
            loop.update_lr_schedulers("step", update_plateau_schedulers=False)
        batches.increment_completed()
        # private: Lightning's counter of steps for loggers has no other name
        loop._batches_that_stepped += 1

    def _count_gradients(self) -> None:
        self.zeroed.increment_ready()
        self.zeroed.increment_started()
        self.zeroed.increment_completed()
