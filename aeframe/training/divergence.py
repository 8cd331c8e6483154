"""Guard against a NaN or exploding loss: training ends, or goes back and learns more slowly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from aeframe.config.options import DivergenceOptions
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import TrainingError
from aeframe.core.files import write_atomically
from aeframe.core.strict_json import format_json
from aeframe.data import Batch
from aeframe.runs.layout import DIVERGED
from aeframe.training.checkpointing import CALMER

FAR = 1e9  # normalized values beyond this have squares that float32 cannot add to others
SHOWN = 5  # samples in the message; the file has all
RATES = ("lr", "initial_lr", "max_lr", "min_lr")
"""Learning rates in an optimizer's group: the current one, and those that a schedule keeps there."""
PLANNED = ("base_lrs", "max_lrs", "min_lrs", "eta_min", "eps")
"""Learning rates in a schedule. eps: the smallest change that ReduceLROnPlateau makes."""


class DivergenceError(TrainingError):
    """Divergence of the loss.

    step: the first at which it may have begun. found: details for the file.
    """

    def __init__(self, text: str, step: int, found: Mapping[str, Any]) -> None:
        super().__init__(text)
        self.step, self.found = step, found

    def write(self, folder: Path, tried: Sequence[int]) -> None:
        """Write the details into a run's folder. tried: see Guard."""
        with write_atomically(folder / DIVERGED) as file:
            text = format_json({**self.found, "went_back_to": tried})
            file.write(f"{text}\n".encode())


class Guard:
    """Guard against divergence of one run's loss.

    elements: of a sample. first: loss of the first step; a large multiple of it, and of a nat for each
    element, is an explosion: a network that starts as PCA may begin near 0. tried: steps of the checkpoints
    that training went back to, also in earlier processes; 0 for the beginning. applied: how often the
    learning rate of the loaded checkpoint was lowered.
    """

    def __init__(self, options: DivergenceOptions, elements: int = 1) -> None:
        self.options, self.elements = options, elements
        self.first: float | None = None
        self.tried: tuple[int, ...] = ()
        self.applied = 0

    def find_complaint(self, loss: float) -> str | None:
        """Describe the problem of a training step's loss; None if there is none."""
        if not math.isfinite(loss):
            return f"became {loss}"
        if self.first is None:
            self.first = loss
        if loss > self.options.explodes_at * max(abs(self.first), self.elements):
            return f"exploded to {loss:.3g} (the first step's was {self.first:.3g})"
        return None

    @property
    def back(self) -> int:
        """Number of times that training went back."""
        return len(self.tried)

    @property
    def may_go_back(self) -> bool:
        """Check whether a retry is left."""
        return self.back < self.options.retries

    def slow_down(self, optimizers: Sequence[Optimizer], schedules: Sequence[Any]) -> None:
        """Lower the learning rates once for each time that training went back since the checkpoint.

        From here on, the rate is the schedule's times one factor.
        """
        factor = self.options.lr_factor ** (self.back - self.applied)
        self.applied = self.back
        if factor == 1:
            return
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                _multiply(group, RATES, factor)
        for schedule in (part for whole in schedules for part in walk_schedulers(whole)):
            _multiply(vars(schedule), PLANNED, factor)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a resumed run."""
        return {"first": self.first, "back": self.back}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state."""
        self.first, self.applied = state["first"], state["back"]
        unknown = max(self.applied - self.back, 0)  # the file that lists them is gone
        self.tried = (*(0,) * unknown, *self.tried)


def walk_schedulers(schedule: Any) -> Iterator[Any]:
    """Yield a scheduler and all schedulers inside it."""
    yield schedule
    for value in vars(schedule).values():
        for inner in value if isinstance(value, list | tuple) else ():
            if isinstance(inner, LRScheduler):
                yield from walk_schedulers(inner)


def _multiply(holder: dict[str, Any], names: Iterable[str], factor: float) -> None:
    for name in names:
        value = holder.get(name)
        if value is not None:
            many = isinstance(value, list)
            holder[name] = [rate * factor for rate in value] if many else value * factor


@torch.no_grad()
def explain_outlier(batches: Iterable[Batch], net: ConstrainedAutoencoder) -> str | None:
    """Explain what to do about a sample with extreme values, which no learning rate helps; else None."""
    farthest, row = 0.0, 0
    for batch in batches:
        for x in (net.normalization(batch.x), net.normalize_target(batch.target)):
            if x is None:
                continue
            reach = torch.where(x.isnan(), 0, x).abs().flatten(1).amax(1)  # without gaps
            if (value := float(reach.max())) > farthest:
                farthest, row = value, int(batch.row[reach.argmax()])
    if farthest < FAR:
        return None
    return (
        f"Sample {row} reaches {farthest:.3g} when it is normalized: correct it, or leave it out."
    )


def make_divergence(
    complaint: str,
    terms: Mapping[str, float],
    step: int,
    where: str,
    rows: Sequence[int],
    unseen: int,
    remedy: str | None = None,
) -> DivergenceError:
    """Make the error for a loss that diverged.

    terms: of the loss, raw. where: the split, if not the training split. rows: of the batch's samples in
    their source. unseen: number of unchecked steps right before. remedy: if the learning rate is not to
    blame.
    """
    bad = [name for name, value in terms.items() if not math.isfinite(value)]
    worst = bad or [max(terms, key=lambda name: terms[name])]
    shown = ", ".join(str(row) for row in rows[:SHOWN])
    found = {"loss": complaint, "step": step, "terms": terms, "samples": list(rows)}
    on = f", in a batch of samples {shown}, ... ({DIVERGED} has all)" if rows else ""
    if rows and unseen:
        found["unseen_steps_before"] = unseen
        where, on = f", or up to {unseen} before it", f"{on[:-1]}; those of step {step})"
    text = f"the loss {complaint} at step {step}{where} (term: {', '.join(worst)}){on}. {remedy or CALMER}"
    return DivergenceError(text, step - unseen, found)
