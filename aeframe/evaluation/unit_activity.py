"""Activity of code units over a split."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from aeframe.evaluation.sums import Variation
from aeframe.models.output import Code


class UnitActivity(Metric):
    """The mean number of units that a sample activates."""

    active: Tensor
    samples: Tensor

    def __init__(self, units: int) -> None:
        super().__init__()
        self.number = units
        for name in ("active", "samples"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, code: Code) -> None:
        self.active += code.active.sum()
        self.samples += len(code.pre)

    def compute(self) -> dict[str, Tensor]:
        l0 = self.active / self.samples
        return {"l0": l0, "dormant": 1 - l0 / self.number}


class DeadUnits(Metric):
    """The share of units that no sample activates."""

    fired: Tensor

    def __init__(self, units: int) -> None:
        super().__init__()
        self.add_state("fired", torch.zeros(units, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, code: Code) -> None:
        self.fired += code.active.any(0)

    @property
    def is_over(self) -> bool:
        """Check whether every unit has been active, so that none can be dead."""
        return bool(self.fired.all())

    def compute(self) -> Tensor:
        return (self.fired == 0).double().mean()


class PosteriorSpread(Variation):
    """The number of units whose posterior mean varies over the data by more than 0.01."""

    def compute(self) -> Tensor:
        variance = self.squares / self.samples - (self.total / self.samples) ** 2
        return (variance > 0.01).sum()
