"""Progress bar of training in the terminal."""

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

from aeframe.data import Batch

IMAGES = "images"


class RateColumn(ProgressColumn):
    """Column with samples per second. things: what samples are called, images for example."""

    def __init__(self, things: str, table_column: Column) -> None:
        super().__init__(table_column)
        self.things = things

    def render(self, task: Task) -> Text:
        return Text(f"{task.fields['rate']:,.0f} {self.things}/s", style="cyan")


class MetricsColumn(ProgressColumn):
    """Column with the loss and the monitored metric, shortened where there is no room."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["shown"], no_wrap=True, overflow="ellipsis")


def make_progress(console: Console, disable: bool, things: str = IMAGES) -> Progress:
    """Make a progress display of one line: the bar takes the free width, and metrics are shortened.

    things: see RateColumn.
    """
    return Progress(
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(bar_width=None, table_column=Column(ratio=1, max_width=40)),
        TextColumn("{task.percentage:>3.0f}%"),
        RateColumn(things, Column(no_wrap=True)),
        MetricsColumn(),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
        console=console,
        auto_refresh=False,  # a drawing thread would take 1 % of training's time
        disable=disable or not console.is_interactive,
        transient=True,
        expand=True,
    )


class Bar(pl.Callback):
    """Progress bar over all epochs with the speed, the loss and the monitored metric, redrawn by
    time.

    Without a terminal, or on a dumb one, it prints a line for every tenth of the epochs, and at
    least every 30 seconds, and for the last one. things: see RateColumn. brief: prints no such lines.
    """

    interval = 0.2  # seconds between refreshes: a step may take less than a millisecond

    def __init__(self, monitor: str, things: str = IMAGES, *, brief: bool = False) -> None:
        self.monitor, self.console, self.things = monitor, Console(stderr=True), things
        self.brief = brief
        self.last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = self.last = self.spoke = time.perf_counter()
        self.first = trainer.global_step
        total = trainer.estimated_stepping_batches * trainer.accumulate_grad_batches
        self.progress = make_progress(self.console, trainer.global_rank > 0, self.things)
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
        rate = self._measure_rate(trainer, pl_module)
        self.progress.update(self.task, completed=done, epoch=epoch, rate=rate, shown=shown)
        self.progress.refresh()

    def _measure_rate(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> float:
        """Return samples per second since training began, over all processes."""
        steps: Any = trainer.global_step - self.first
        return steps * pl_module.epoch.images / (time.perf_counter() - self.started)  # type: ignore[union-attr]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:  # not in a validation after training
            self._print_line(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.enable_validation:
            self._print_line(trainer, pl_module)

    def _print_line(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        done, last = trainer.current_epoch + 1, trainer.max_epochs
        due = done % max(1, (last or 10) // 10) == 0 or done == last
        due |= time.perf_counter() - self.spoke > 30
        if self.brief or self.console.is_interactive or trainer.global_rank or not due:
            return
        self.spoke = time.perf_counter()
        value = trainer.callback_metrics.get(self.monitor)  # none without a validation
        measured = "" if value is None else f"  {self.monitor} {float(value):.4g}"
        rate = self._measure_rate(trainer, pl_module)
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        pace = (
            f"  {rate:,.0f} {self.things}/s" if rate else ""
        )  # none yet in a run that resumes here
        print(f"{epoch}{measured}{pace}", flush=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.progress.stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if hasattr(self, "progress"):
            self.progress.stop()
