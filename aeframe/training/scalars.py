"""Scalars of a training step: loss terms, norms of gradients and weights, speed."""

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
from aeframe.models.autoencoder import Output
from aeframe.monitoring.event_files import write_scalars
from aeframe.monitoring.sharding import is_sharded

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
        self._unsent: list[tuple[Mapping[str, float], int, float]] = []
        # the last step, when, and all waiting until then
        self._last = (0, time.perf_counter(), 0.0)

    def begin(self, step: int, waited: float) -> None:
        """Begin an epoch: the time since the last one was not spent in training."""
        self._last = step - 1, time.perf_counter(), waited

    def write(
        self,
        numbers: Mapping[str, float],
        step: int,
        images: float,
        waited: float,
        trainer: pl.Trainer,
    ) -> None:
        """Collect the values of a step, and send all after half a second.

        images: in each step. waited: seconds in which training has waited for batches.
        """
        written = {f"train/{name}": number for name, number in numbers.items()}
        written |= self._pace(step, images, waited)
        written["train/learning_rate"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        now = time.time()
        self._unsent.append((written, step, now))
        for listen in self.listeners:
            listen(written)
        if now - self._unsent[0][2] >= self.patience:
            self.send(trainer.loggers)

    def send(self, loggers: Iterable[Logger]) -> None:
        """Send the collected values to the loggers."""
        unsent, self._unsent = self._unsent, []
        for values, step, when in unsent:
            write_scalars(loggers, values, step, when)

    def _pace(self, step: int, images: float, waited: float) -> dict[str, float]:
        """Measure the speed since the last step that was written, or since the epoch began."""
        before, since, waited_before = self._last
        now = time.perf_counter()
        self._last = step, now, waited
        return {
            "train/images_per_second": (step - before) * images / (now - since),
            "train/data_waiting": min(1.0, (waited - waited_before) / (now - since)),
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
    """Measure a training step: its loss, its terms raw and weighted, norms of gradients and weights."""
    weights = list(weights)
    values = {"loss": loss}
    for name, term in output.terms.items():
        values |= {name: term.value, f"{name}_weighted": term.weighted}
    if is_sparse:
        active = output.code.active.float()
        values |= {"l0": active.sum(1).mean(), "dormant": 1 - active.mean()}
    sharded = is_sharded(trainer)
    gradients = [w.grad for w in weights if w.grad is not None]
    values["gradient_norm"] = compute_norm(gradients, sharded=sharded) / _find_scale(trainer)
    values["parameter_norm"] = compute_norm(weights, sharded=sharded)
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
