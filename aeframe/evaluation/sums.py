"""Sums over a split, as torchmetrics objects."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from aeframe.data.gaps import keep_present


class SquaredError(Metric):
    """The mean over samples and elements. A sample's sum has the data's precision, all other sums float64.

    If there are factors, a second mean has one for each element.
    """

    total: Tensor
    weighted: Tensor
    elements: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "weighted", "elements"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        restored: Tensor,
        x: Tensor,
        factors: Tensor | None = None,
        present: Tensor | None = None,
    ) -> None:
        """Add a batch. restored, x: [B, elements]. factors: [elements], or None if all are alike.

        present: the elements that are no gaps, bool, or None for all.
        """
        error = (restored - x).square_()  # x is float32 or wider, whatever the network computed in
        error = keep_present(error, present)
        self.total += error.sum(1).double().sum()
        if factors is not None:
            self.weighted += (error @ factors.to(error.dtype)).double().sum()
        self.elements += error.numel() if present is None else present.sum()

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return the mean without and with the factors."""
        return self.total / self.elements, self.weighted / self.elements


class Variation(Metric):
    """The variance over samples of each feature, averaged over features, or over values if there are gaps.

    From sums in float64, so that it does not depend on the batches.
    """

    total: Tensor
    squares: Tensor
    samples: Tensor

    def __init__(self, features: int, *, gaps: bool = False) -> None:
        super().__init__()
        each, counted = (features,), (features,) if gaps else ()
        for name, shape in (("total", each), ("squares", each), ("samples", counted)):
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, x: Tensor, present: Tensor | None = None) -> None:
        """Add a batch. x: [B, features]. present: the elements that are no gaps, bool, or None for all."""
        x = keep_present(x.double(), present)
        self.total += x.sum(0)
        self.squares += x.square().sum(0)
        self.samples += len(x) if present is None else present.sum(0)

    def compute(self) -> Tensor:
        each = self.squares - self.total.square() / self.samples.clamp(min=1)
        each = each.where(each > 1e-12 * self.squares, 0)  # what is left is rounding
        return each.sum() / self.samples.sum() if self.samples.ndim else each.mean() / self.samples


class MeanTerm(Metric):
    """The mean over samples of values that are batch means: a scalar or a vector.

    Not torchmetrics' MeanMetric, which leaves out batches whose value is NaN.
    """

    total: Tensor
    samples: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("samples", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, value: Tensor, count: int) -> None:
        self.total += value.double() * count
        self.samples += count

    def compute(self) -> Tensor:
        return self.total / self.samples
