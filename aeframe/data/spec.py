"""Specification of a run's data: shape, range and scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from aeframe.data.normalization.normalization import Normalization
from aeframe.data.normalization.normalization_fit import Fitted
from aeframe.data.normalization.spread import Kind
from aeframe.data.normalization.usual_ranges import UsualRange, find_usual_ranges
from aeframe.data.source import Samples, Shape
from aeframe.data.table_schema import Schema


class Nouns(NamedTuple):
    """Words for one sample and for one of its values, for texts that people read."""

    sample: str
    value: str

    def count_samples(self, samples: int, kind: str = "") -> str:
        """Write a number of samples in words. kind: stands before the noun."""
        return f"{samples:,} {kind}{' ' * bool(kind)}{self.sample}{'' if samples == 1 else 's'}"

    @staticmethod
    def suit(shape: Shape) -> Nouns:
        """Return the words that suit samples of this shape; an image of one line is a signal."""
        is_image = len(shape) == 3 and min(shape[1:]) > 1
        return IMAGES if is_image else OTHERS


IMAGES, OTHERS = Nouns("image", "pixel"), Nouns("sample", "value")


@dataclass(frozen=True)
class DataSpec:
    """Specification of the data, for the rest of the run.

    shape: of one sample. low, high: the range of normalized values. samples: size of the training split.
    extent: the range of all normalized values, if one scale applies to all. dtype: of stored values.
    stored: their range, if known beforehand. classes: names of the labels. normalization: its kind, never
    `auto`. seen: the range of stored values in the training split. Older runs lack the last two.
    levels: the measured values of black and white in the image files. columns: those of a table. gaps:
    whether samples may have missing values, which are NaN. usual: the ranges of columns or of a signal's
    channels. axes: of a sample in its file, if it is a vector of several. target: the specification of the
    targets, if the samples have some.
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
    columns: Schema | None = None
    gaps: bool = False
    usual: tuple[UsualRange, ...] = ()
    axes: Shape = ()
    target: DataSpec | None = None

    @classmethod
    def describe(cls, train: Samples, fitted: Fitted, target: DataSpec | None = None) -> DataSpec:
        """Describe a training split and its normalization. target: the specification of the targets."""
        raw = train.raw
        return cls(
            raw.rows.sample,
            fitted.low,
            fitted.high,
            len(train),
            fitted.extent,
            train.dtype,
            None if raw.low is None or raw.high is None else (raw.low, raw.high),
            raw.classes,
            fitted.kind,
            fitted.seen,
            raw.levels,
            raw.columns,
            fitted.normalization.neutral is not None,
            find_usual_ranges(train),
            raw.axes,
            target,
        )

    @property
    def written(self) -> DataSpec:
        """The specification of the data that the network writes: of the targets, or of the samples."""
        return self if self.target is None else self.target

    @property
    def target_shape(self) -> Shape | None:
        """The shape of one target, or None if the samples are their own targets."""
        return None if self.target is None else self.target.shape

    @property
    def nouns(self) -> Nouns:
        """The words for a sample and its values."""
        return Nouns.suit(self.shape)

    def get_range(self, normalization: Normalization) -> tuple[float, float]:
        """Return the range of stored values, for pictures and as peak of PSNR."""
        if (known := self.stored or self.seen) is not None:
            return known
        low, high = (
            normalization.inverse(torch.full_like(normalization.shift, value))
            for value in (self.low, self.high)
        )
        return float(low.min()), float(high.max())

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        more: dict[str, Any] = {} if self.levels is None else {"levels": list(self.levels)}
        more |= {} if self.columns is None else {"columns": self.columns.as_dict()}
        more |= {"gaps": True} if self.gaps else {}
        more |= {"usual": list(map(list, self.usual))} if self.usual else {}
        more |= {"axes": list(self.axes)} if self.axes else {}
        more |= {} if self.target is None else {"target": self.target.as_dict()}
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
            **more,
        }
