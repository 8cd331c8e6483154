"""When training stops, and what the terminal shows meanwhile."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from aeframe.config.options import EarlyStoppingOptions, UntilOptions
from aeframe.data import Batch
from aeframe.evaluation.metric_names import better_is
from aeframe.objective import is_settled


class Until(pl.Callback):
    """Stops at the validation in which a metric reaches an acceptable level, once the schedules have ended.

    reached: afterwards, whether there was such a validation; None where no level was wanted.
    """

    def __init__(self, wanted: UntilOptions) -> None:
        self.wanted = wanted
        self.reached: bool | None = None if wanted.metric is None else False

    @property
    def may_stop(self) -> bool:
        """Whether it will ever end training."""
        return self.wanted.metric is not None

    @property
    def said(self) -> str | None:
        """Whether the level was reached, for whoever set one."""
        if self.reached is None:
            return None
        reached = "reached" if self.reached else "NOT reached"
        return f"The wanted level {self.wanted.level} was {reached}."

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metric = self.wanted.metric
        if metric is None or trainer.sanity_checking or not _may_end(trainer):
            return
        if self.wanted.reached_by(float(trainer.callback_metrics[metric])):
            self.reached, trainer.should_stop = True, True


def _may_end(trainer: pl.Trainer) -> bool:
    """Check whether a validation may end training: it was long enough, and the objective is settled."""
    epochs = trainer.current_epoch + trainer.is_last_batch
    enough = epochs >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)
    return enough and is_settled(trainer)


class EarlyStopping(pl.callbacks.EarlyStopping):
    """Stops when the metric `monitor` no longer improves; see the options.

    Only validations after all schedules have ended count. Those before trainer.min_epochs count, but end
    nothing: it looks anew at the next.
    """

    def __init__(self, monitor: str, options: EarlyStoppingOptions) -> None:
        super().__init__(
            monitor,
            min_delta=options.min_delta,
            patience=options.patience or 1,
            mode=better_is(monitor),
            check_finite=False,
            check_on_train_epoch_end=False,  # an epoch that a limit of steps ends has no validation
        )
        self.may_stop, self.warmup_epochs = options.patience is not None, options.warmup_epochs
        self.stopped = False

    @property
    def said(self) -> str | None:
        """What to tell when it was this that ended training."""
        if not self.stopped:
            return None
        return f"Stopped early: {self.monitor} had not improved in {self.patience} validations."

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what was counted; for how long is what the configuration says."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def _run_early_stopping_check(self, trainer: pl.Trainer) -> None:
        counts = trainer.current_epoch >= self.warmup_epochs and is_settled(trainer)
        if self.may_stop and counts:
            before = trainer.should_stop
            super()._run_early_stopping_check(trainer)
            if not _may_end(trainer):
                trainer.should_stop = before
            # not stopped_epoch, which testing the best checkpoint restores to that of the checkpoint
            self.stopped = trainer.should_stop and not before


class RateColumn(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.fields['rate']:,.0f} images/s", style="cyan")


class MetricsColumn(ProgressColumn):
    """The loss and the monitored metric, cut where there is no room."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["shown"], no_wrap=True, overflow="ellipsis")


def progress(console: Console, disable: bool) -> Progress:
    """One line, however narrow the terminal: the bar has what the others leave, and metrics are cut."""
    return Progress(
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(bar_width=None, table_column=Column(ratio=1, max_width=40)),
        TextColumn("{task.percentage:>3.0f}%"),
        RateColumn(Column(no_wrap=True)),
        MetricsColumn(),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
        console=console,
        auto_refresh=False,  # a thread that draws takes 1 % of training's time
        disable=disable or not console.is_interactive,
        transient=True,
        expand=True,
    )


class Bar(pl.Callback):
    """One bar over all epochs with images/s, the loss and the monitored metric, redrawn by time.

    Without a terminal, or on a dumb one: a line for every tenth of the epochs, and at least every 30 seconds.
    """

    interval = 0.2  # seconds between refreshes: a step may take less than a millisecond

    def __init__(self, monitor: str) -> None:
        self.monitor, self.console = monitor, Console(stderr=True)
        self.last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = self.last = self.spoke = time.perf_counter()
        self.first = trainer.global_step
        total = trainer.estimated_stepping_batches * trainer.accumulate_grad_batches
        self.progress = progress(self.console, trainer.global_rank > 0)
        finite = total if total != float("inf") else None
        self.task = self.progress.add_task("", total=finite, epoch="", rate=0.0, shown="")
        self.progress.start()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        now = time.perf_counter()
        if now - self.last < self.interval:
            return
        self.last = now
        loss = outputs.get("unweighted", outputs["loss"]) if isinstance(outputs, dict) else outputs
        shown = f"loss {float(loss):.4g}" if isinstance(loss, torch.Tensor) else ""
        if self.monitor in trainer.callback_metrics:
            shown += f"  {self.monitor} {float(trainer.callback_metrics[self.monitor]):.4g}"
        done = trainer.current_epoch * trainer.num_training_batches + batch_idx + 1
        epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
        rate = self._rate(trainer, pl_module)
        self.progress.update(self.task, completed=done, epoch=epoch, rate=rate, shown=shown)
        self.progress.refresh()

    def _rate(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> float:
        """Images per second since training began, over all processes."""
        steps: Any = trainer.global_step - self.first
        return steps * pl_module.epoch.images / (time.perf_counter() - self.started)  # type: ignore[union-attr]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:  # else it is validated after it
            self._tell(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.enable_validation:
            self._tell(trainer, pl_module)

    def _tell(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        every = max(1, (trainer.max_epochs or 10) // 10)
        due = (trainer.current_epoch + 1) % every == 0 or time.perf_counter() - self.spoke > 30
        if self.console.is_interactive or trainer.global_rank or not due:
            return
        self.spoke = time.perf_counter()
        value = trainer.callback_metrics.get(self.monitor)  # none without a validation
        measured = "" if value is None else f"  {self.monitor} {float(value):.4g}"
        rate = self._rate(trainer, pl_module)
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        pace = f"  {rate:,.0f} images/s" if rate else ""  # none yet, of a run that goes on here
        print(f"{epoch}{measured}{pace}", flush=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.progress.stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if hasattr(self, "progress"):
            self.progress.stop()
