"""Specification of a run's data: shape, range and scale, as the rest of the run knows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from aeframe.data.normalization import Normalization
from aeframe.data.source import Shape
from aeframe.data.spread import Kind


@dataclass(frozen=True)
class DataSpec:
    """What the rest of a run knows of its data.

    shape: of one sample. low, high: the range of normalised values. samples: in the training split.
    extent: the range of all normalised values, where one scale is for all. dtype: of stored values;
    stored: their range, where it is known beforehand. classes: names of the labels. normalization: its kind,
    which `auto` has chosen. seen: the range of the training split's stored values. Older runs lack both.
    levels: the values in image files that became the range, where these were measured.
    """

    shape: Shape
    low: float
    high: float
    samples: int
    extent: tuple[float, float]
    dtype: torch.dtype
    stored: tuple[float, float] | None = None
    classes: tuple[str, ...] = ()
    normalization: Kind | None = None
    seen: tuple[float, float] | None = None
    levels: tuple[float, float] | None = None

    def range_in(self, normalization: Normalization) -> tuple[float, float]:
        """The range of stored values, known or seen: of pictures, and for PSNR."""
        if (known := self.stored or self.seen) is not None:
            return known
        low, high = (
            normalization.inverse(torch.full_like(normalization.shift, value))
            for value in (self.low, self.high)
        )
        return float(low.min()), float(high.max())

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        levels = {} if self.levels is None else {"levels": list(self.levels)}
        wide = math.isinf(self.extent[0]) or math.isinf(self.extent[1])
        return {
            "shape": list(self.shape),
            "low": float(self.low),
            "high": float(self.high),
            "samples": self.samples,
            "extent": None if wide else list(self.extent),
            "dtype": str(self.dtype).removeprefix("torch."),
            "stored": None if self.stored is None else [float(v) for v in self.stored],
            "classes": list(self.classes),
            "normalization": self.normalization,
            "seen": None if self.seen is None else list(self.seen),
            **levels,
        }
