"""Scalars of a training step: loss, terms and error; and vitals: rate, norms and speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from aeframe.core.distributed import sum_over_ranks
from aeframe.data import Batch
from aeframe.data.gaps import keep_present
from aeframe.models.output import Output
from aeframe.monitoring.event_files import Curves, Point
from aeframe.monitoring.sharding import is_sharded
from aeframe.training.epoch import Epoch

Listener = Callable[[Mapping[str, float]], None]


class Noted(NamedTuple):
    """Step to be logged, whose gradients are not computed yet."""

    output: Output
    loss: Tensor
    step: int
    batch: Batch


class Scalars:
    """Scalars, every `log_every_n_steps` steps.

    Lightning's own logging takes longer than the step of a small network. Values are collected and sent
    together, twice a second, because the thread that writes the file interrupts training each time.
    listeners: functions that get the values of a step at once, by tag.
    """

    patience = 0.5  # seconds

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self._unsent: list[Point] = []
        # the last step, when, and all waiting until then
        self._last = (0, time.perf_counter(), 0.0)

    def begin(self, step: int, waited: float) -> None:
        """Begin an epoch: the time since the last one was not spent in training."""
        self._last = step - 1, time.perf_counter(), waited

    def write(
        self,
        numbers: Mapping[str, float],
        step: int,
        epoch: Epoch,
        waited: float,
        trainer: pl.Trainer,
    ) -> None:
        """Collect the values of a step, by tag, and send all after half a second.

        waited: seconds in which training has waited for batches.
        """
        values = {**numbers, **self._measure_pace(step, epoch.images, waited)}
        values["vitals/learning_rate"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        now = time.time()
        self._unsent.append(Point(step, epoch.number, values, now))
        for listen in self.listeners:
            listen(values)
        if now - self._unsent[0].when >= self.patience:
            self.send(trainer.loggers)

    def send(self, loggers: Iterable[Logger]) -> None:
        """Send the collected values to the loggers."""
        unsent, self._unsent = self._unsent, []
        for logger in loggers if unsent else ():
            assert isinstance(logger, Curves)
            logger.write(unsent)

    def write_validation(
        self, values: Mapping[str, float], epoch: int, trainer: pl.Trainer
    ) -> None:
        """Send the metrics of a validation, at the number of steps done."""
        self._unsent.append(Point(trainer.global_step, epoch, values, time.time()))
        self.send(trainer.loggers)
        for logger in trainer.loggers:
            logger.save()

    def _measure_pace(self, step: int, images: float, waited: float) -> dict[str, float]:
        """Measure the speed since the last step that was written, or since the epoch began."""
        before, since, waited_before = self._last
        now = time.perf_counter()
        self._last = step, now, waited
        return {
            "vitals/samples_per_second": (step - before) * images / (now - since),
            "vitals/data_waiting": min(1.0, (waited - waited_before) / (now - since)),
        }


@torch.no_grad()
def measure(
    output: Output,
    loss: Tensor,
    weights: Iterable[nn.Parameter],
    trainer: pl.Trainer,
    *,
    is_sparse: bool,
) -> dict[str, float]:
    """Measure a training step, by tag: its loss, terms raw and weighted, error, norms of gradients
    and weights.
    """
    weights = list(weights)
    restored = output.reconstruction[: len(output.x)]  # of several codes of a sample, the first
    squares = keep_present((restored - output.x).square(), output.present)
    mse = squares.mean() if output.present is None else squares.sum() / output.present.sum()
    values = {"train/loss": loss, "train/mse": mse}
    for name, term in output.terms.items() if len(output.terms) > 1 else ():  # one is the loss
        values |= {f"train/{name}": term.value, f"train/{name}_weighted": term.weighted}
    if is_sparse:
        active = output.code.active.float()
        values |= {"train/l0": active.sum(1).mean(), "train/dormant": 1 - active.mean()}
    sharded = is_sharded(trainer)
    gradients = [w.grad for w in weights if w.grad is not None]
    values |= {
        "vitals/gradient_norm": compute_norm(gradients, sharded=sharded) / _find_scale(trainer),
        "vitals/parameter_norm": compute_norm(weights, sharded=sharded),
    }
    # one transfer from the device, not one for each value
    numbers = torch.stack([value.double() for value in values.values()]).tolist()
    return dict(zip(values, numbers, strict=True))


def _find_scale(trainer: pl.Trainer) -> float:
    """Find the factor of gradients that a fused optimizer removes only in its step (with 16-mixed)."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    divides = trainer.optimizers[0].param_groups[0].get("fused", False)
    return float(scaler.get_scale()) if scaler is not None and divides else 1.0


def compute_norm(tensors: Iterable[Tensor], *, sharded: bool = False) -> Tensor:
    """Compute the L2 norm of all elements. sharded: whether each rank holds only some of them."""
    whole = get_total_norm([tensor.detach() for tensor in tensors])
    return sum_over_ranks(whole.square()).sqrt() if sharded else whole
