"""Robust spreads of columns, and the choice of a normalization."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aeframe.core.errors import Problem, shorten
from aeframe.data.normalization.value_range import Range
from aeframe.data.source import Samples, Share

Kind = Literal["unit", "rms", "standard", "rank", "none"]
Choice = Literal["auto", "unit", "rms", "standard", "rank", "none"]

ELEMENTS = 2**21  # of the measured rows, which are spread evenly over the training split
ROWS = 20_000  # at most
PERCENTILES = (1, 25, 50, 75, 99)
IQR, PERCENTILE_WIDTH = 1.349, 4.653  # of a normal distribution, in standard deviations
SMALL = 10.0  # times below the root mean square of all spreads, where a column has 1 % of the error
SHARE = 1 / 50  # of the columns that may be so small
LEAST = 32  # columns of a signal
JUMP, ROUGH = (
    10.0,
    0.2,
)  # of a signal's spreads: largest ratio of neighbors, largest von Neumann ratio
FAR = 40.0  # spreads from the median, where one value sets the standard deviation of thousands
HEAVY = 10.0  # ratio of the range to the width of 98 % of all values

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """Statistics of the columns of a training split: features of vectors, or channels of images.

    median, low, high: of each column, [columns]. spread: a standard deviation computed from the quartiles, so
    that outliers do not change it; 0 if 98 % of the values are equal. typical: root mean square about the
    medians, of the median sample. width: of the range of 98 % of all values.
    """

    median: Floats
    low: Floats
    high: Floats
    spread: Floats
    typical: float
    width: float

    @classmethod
    def measure(cls, train: Samples) -> Columns:
        """Measure the columns of a training split, from some of its rows."""
        rows = train.spread_evenly(max(1, min(ROWS, ELEMENTS // train.raw.rows.elements)))
        x = train[Share(rows, len(rows))].x
        train.raw.release()
        samples = x.double().reshape(*x.shape[:2], -1).numpy()
        values = samples.transpose(0, 2, 1).reshape(-1, samples.shape[1])
        percentile = np.percentile
        if train.raw.gaps:
            percentile = np.nanpercentile
            values[:, np.isnan(values).all(0)] = 0
        least, first, median, third, most = percentile(values, PERCENTILES, axis=0)
        spread = (third - first) / IQR
        spread = np.where(spread > 0, spread, (most - least) / PERCENTILE_WIDTH)
        about = samples - median[:, None]
        if train.raw.gaps:
            about = np.nan_to_num(about)  # as if a gap had the median
        typical = math.sqrt(float(np.median(np.square(about, out=about).mean((1, 2)))))
        bottom, top = percentile(values, (PERCENTILES[0], PERCENTILES[-1]))
        return cls(
            median,
            np.nanmin(values, 0),
            np.nanmax(values, 0),
            spread,
            typical,
            width=float(top - bottom),
        )

    @property
    def small(self) -> int:
        """The number of columns that one common scale would make too small to be learned."""
        spread = self.spread[self.spread > 0]
        return int((spread * SMALL < np.sqrt(np.square(spread).mean())).sum()) if len(spread) else 0

    @property
    def are_unlike(self) -> bool:
        """Check whether the columns have different units, as in tables."""
        some = self.small > SHARE * len(self.spread)
        return some and not self.share_a_range and not self.are_signal

    @property
    def are_signal(self) -> bool:
        """Check whether the columns are places of a signal: neighbors have similar spreads, without jumps."""
        logs = np.log(self.spread[self.spread > 0])
        if len(logs) < LEAST:
            return False
        steps = np.diff(logs)
        rough = np.square(steps).mean() / max(
            2 * float(logs.var()), 1e-12
        )  # von Neumann 1941; 1 if unordered
        return bool(rough < ROUGH and np.abs(steps).max() < math.log(JUMP))

    @property
    def share_a_range(self) -> bool:
        """Check whether the columns are of one kind, such as pixels: equal minimum, similar widths."""
        widths = self.high - self.low
        widths = widths[widths > 0]
        if not len(widths) or np.median(widths) < widths.max() / 4:
            return False
        in_unit = self.low.min() >= -1e-6 and self.high.max() <= 1 + 1e-6
        return bool(in_unit or (self.low == self.low.min()).mean() >= 0.9)

    @property
    def ratio(self) -> float:
        """The largest spread divided by the smallest."""
        spread = self.spread[self.spread > 0]
        return float(spread.max() / spread.min())

    @property
    def reach(self) -> Floats:
        """The largest distance of a value from the median of its column, in spreads; 0 without a spread."""
        farthest = np.maximum(self.high - self.median, self.median - self.low)
        return np.divide(farthest, self.spread, out=np.zeros_like(farthest), where=self.spread > 0)

    def has_outliers(self, low: float, high: float) -> bool:
        """Check whether a few outliers determine the range."""
        return 0 < self.width * HEAVY < high - low


def choose_normalization(
    columns: Columns, range_: Range, *, axes: int, support: Range | None
) -> tuple[Kind, str]:
    """Choose the normalization of a training split; returns it with the reason in words.

    range_: of its values. axes: of a sample behind its channels; 0 for vectors, 1 for signals, 2 for images.
    support: the range of a bounded likelihood, or None.
    """
    ends = f"{range_[0]:g} to {range_[1]:g}"
    if support is not None:
        return "unit", f"the likelihood takes values in [{support[0]:g}, {support[1]:g}]"
    if axes == 1:
        return "standard", "each channel of a signal has a unit of its own"
    if axes:
        return "unit", f"{'images' if axes == 2 else 'volumes'}, of {ends}"
    if columns.share_a_range and not columns.has_outliers(*range_):
        return "unit", f"all columns share the range of {ends}"
    if columns.are_unlike:
        return "standard", f"the spreads of the columns differ {columns.ratio:.2g} times"
    if columns.small and columns.are_signal:
        return "rms", "one scale suits all places of a signal"
    return "rms", "one scale suits all columns"


def note_scales(
    kind: Choice,
    columns: Columns,
    range_: Range,
    names: Sequence[str] = (),
    *,
    axes: int,
    bounded: bool,
) -> Iterator[Problem]:
    """Note a scale that outliers determine, and columns that are too small to be learned.

    axes: see `choose_normalization`. bounded: whether the likelihood has a bounded range. names: of columns.
    """
    where = f"dataset.normalization={kind}"
    write = f"Write {'likelihood=gaussian ' if bounded else ''}dataset.normalization="
    if kind not in ("standard", "rank") and axes < 2 and columns.are_unlike:
        what = (
            f"{columns.small} of {len(columns.spread)} columns spread so little beside the others that "
            "they will hardly be learned"
        )
        yield Problem(where, what, f"{write}standard.")
    elif kind == "unit" and columns.has_outliers(*range_):
        share = columns.width / (range_[1] - range_[0])
        what = (
            f"a few values set the scale: 98 % of all lie within {share:.2g} of the range of "
            f"{range_[0]:g} to {range_[1]:g}"
        )
        yield Problem(where, what, f"{write}rms.")
    elif kind == "standard" and axes == 0 and (reach := columns.reach).max() > FAR:
        far, most = int((reach > FAR).sum()), int(reach.argmax())
        name = shorten(names[most] if names else f"column {most}")
        what = (
            f"far outliers set the scale of {far:,} column{'s' if far > 1 else ''}: a value of {name} lies "
            f"{reach[most]:,.0f} usual deviations from the median"
        )
        yield Problem(where, what, f"{write}rank, or correct the values.")
