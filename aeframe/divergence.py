"""A loss that is no number any more, or explodes: training ends, or goes back and learns more slowly."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from aeframe.checkpoints import CALMER
from aeframe.config.callbacks import DivergenceOptions
from aeframe.data import Batch
from aeframe.errors import TrainingError

FAR = 1e9  # of normalized values, whose squares then are beyond what float32 adds to others
SHOWN = 5  # samples in the message; the file has all


class DivergenceError(TrainingError):
    """The loss is of no use any more. step: after so many steps."""

    def __init__(self, text: str, step: int) -> None:
        super().__init__(text)
        self.step = step


class Guard:
    """Looks at the losses of one run.

    first: the loss of its first step, of which too large a multiple is an explosion. back: how often training
    went back. applied: how often the learning rate of the loaded checkpoint was lowered for that.
    """

    def __init__(self, options: DivergenceOptions) -> None:
        self.options = options
        self.first: float | None = None
        self.back = self.applied = 0

    def complaint(self, loss: float) -> str | None:
        """What is wrong with a training step's loss."""
        if not math.isfinite(loss):
            return f"became {loss}"
        if self.first is None:
            self.first = loss
        if loss > self.options.explodes_at * max(abs(self.first), 1.0):
            return f"exploded to {loss:.3g} (the first step's was {self.first:.3g})"
        return None

    @property
    def may_go_back(self) -> bool:
        """Whether a retry is left."""
        return self.back < self.options.retries

    def slow_down(self, optimizers: Sequence[Optimizer], schedules: Sequence[Any]) -> None:
        """Lower the learning rates for the times that training went back since the checkpoint."""
        factor = self.options.lr_factor ** (self.back - self.applied)
        self.applied = self.back
        if factor == 1:
            return
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] *= factor
        for schedule in schedules:
            if hasattr(schedule, "base_lrs"):
                schedule.base_lrs = [rate * factor for rate in schedule.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on has to know."""
        return {"first": self.first, "back": self.back}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know it."""
        self.first, self.applied = state["first"], state["back"]
        self.back = max(self.back, self.applied)


@torch.no_grad()
def outlier(batches: Iterable[Batch], normalization: Callable[[Tensor], Tensor]) -> str | None:
    """What to do about a sample so far from all others that no training would help, if there is one."""
    farthest, row = 0.0, 0
    for batch in batches:
        reach = normalization(batch.x).abs().flatten(1).amax(1)
        if (value := float(reach.max())) > farthest:
            farthest, row = value, int(batch.row[reach.argmax()])
    if farthest < FAR:
        return None
    return (
        f"Sample {row} reaches {farthest:.3g} when it is normalized: correct it, or leave it out."
    )


def diverged(
    complaint: str,
    terms: Mapping[str, float],
    step: int,
    where: str,
    rows: Sequence[int],
    folder: Path | None,
    remedy: str | None = None,
) -> DivergenceError:
    """The error. terms: of the loss, raw. where: besides the training split. rows: of the batch's samples in
    their source. folder: where all of it is written. remedy: where it is not the rate that is to blame.
    """
    bad = [name for name, value in terms.items() if not math.isfinite(value)]
    worst = bad or [max(terms, key=lambda name: terms[name])]
    shown = ", ".join(str(row) for row in rows[:SHOWN])
    if folder is not None:
        found = {"loss": complaint, "step": step, "terms": terms, "samples": list(rows)}
        (folder / "diverged.json").write_text(json.dumps(found, indent=2) + "\n")
    on = f", in a batch of samples {shown}, ... (diverged.json has all)" if rows else ""
    text = f"the loss {complaint} at step {step}{where} (term: {', '.join(worst)}){on}. {remedy or CALMER}"
    return DivergenceError(text, step)
