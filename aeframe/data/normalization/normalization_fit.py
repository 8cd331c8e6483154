"""Fit of a normalization to a training split."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from aeframe.core.errors import Problem, UserError
from aeframe.data.gaps import has_gaps
from aeframe.data.normalization.normalization import Normalization
from aeframe.data.normalization.rank_normalization import fit_ranks
from aeframe.data.normalization.spread import (
    Choice,
    Columns,
    Kind,
    choose_normalization,
    note_scales,
)
from aeframe.data.normalization.statistics import Statistics, widen_extent
from aeframe.data.normalization.usual_ranges import name_elements
from aeframe.data.normalization.value_range import Range
from aeframe.data.source import Samples
from aeframe.data.table_elements import find_elements
from aeframe.data.table_schema import Schema

ANY: Range = (-math.inf, math.inf)
TINY, MOST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max


class Fitted(NamedTuple):
    """A normalization, the range of the normalized training split, and that of all values.

    seen: the range of stored values, if it is not known beforehand. reason: for the choice of `auto`.
    notes: on data that is likely to train badly. mean: of the stored values, [F], if it was measured.
    """

    normalization: Normalization
    low: float
    high: float
    extent: Range
    kind: Kind
    seen: Range | None = None
    reason: str = ""
    notes: tuple[Problem, ...] = ()
    mean: Tensor | None = None


class Kept(NamedTuple):
    """A normalization that was fitted to other data, and its kind."""

    normalization: Normalization
    kind: Kind


def fit(wanted: Choice, train: Samples, support: Range = ANY, kept: Kept | None = None) -> Fitted:
    """Fit the normalization to a training split; `auto` is chosen by its columns.

    kept: a normalization to use as it is; only ranges are measured. support: the range of normalized values
    that the model accepts. If it is bounded, `unit` uses the range of all values, also of held-out ones.
    Raises UserError for values that are not finite, and for constant data.
    """
    raw, extent = train.raw, (math.inf, -math.inf)
    known = None if raw.low is None or raw.high is None else (float(raw.low), float(raw.high))
    if train.is_streamed and known is None:
        _require_unbounded(support, raw.origin)
    others = () if train.is_streamed else (raw.val, raw.test)  # too large for a pass
    for other in others:
        if other is not None and (known is None or other.rows.dtype.is_floating_point):
            for _, chunk in other.read_chunks():
                extent = widen_extent(extent, chunk, other)
    if kept is not None:
        fitted = _measure_ranges(kept, Statistics(train), extent, known)
    elif known is not None and wanted in ("auto", "unit", "none"):  # no statistics are needed
        fitted = _fit_to_range("none" if wanted == "none" else "unit", known, known)
        reason = f"the known range of values is {known[0]:g} to {known[1]:g}"
        fitted = fitted._replace(reason=reason)
    else:
        fitted = _fit_to_values(wanted, train, extent, support)
        fitted = fitted if known is None else fitted._replace(seen=None)
    if raw.gaps and fitted.normalization.neutral is None:
        mean = Statistics(train).mean if fitted.mean is None else fitted.mean
        fitted.normalization.take_means(_reshape(mean, len(raw.rows.sample) - 1))
    fitted.normalization.has_gaps = has_gaps(raw)
    if train.is_streamed:  # only some values were seen
        fitted = fitted._replace(seen=None)
    _require_differences(train)
    return fitted


def _measure_ranges(kept: Kept, seen: Statistics, extent: Range, known: Range | None) -> Fitted:
    """Measure the ranges of data under a given normalization. extent: of the other splits."""
    shift, scale = (
        v.double().flatten() for v in (kept.normalization.shift, kept.normalization.scale)
    )
    first, last = (seen.low, seen.high) if known is None else map(torch.tensor, known)
    low, high = float(((first - shift) / scale).min()), float(((last - shift) / scale).max())
    if not kept.normalization.is_affine:
        low = float(kept.normalization(first).min())
        high = float(kept.normalization(last).max())
    ends = ANY
    if kept.kind in ("unit", "none"):
        extent = min(extent[0], seen.extent[0]), max(extent[1], seen.extent[1])
        ends = float((extent[0] - shift) / scale), float((extent[1] - shift) / scale)
    trained = None if known is not None else (float(seen.low.min()), float(seen.high.max()))
    reason = "the trained network has it"
    return Fitted(kept.normalization, low, high, ends, kept.kind, trained, reason, mean=seen.mean)


def _fit_to_values(wanted: Choice, train: Samples, extent: Range, support: Range) -> Fitted:
    """Fit a normalization that needs statistics. extent: of the test split."""
    raw, statistics = train.raw, Statistics(train)
    low, high = trained = float(statistics.low.min()), float(statistics.high.max())
    extent = min(extent[0], statistics.extent[0]), max(extent[1], statistics.extent[1])
    _require_variation(low, high)
    if wanted == "rank" and len(raw.rows.shape) > 2:
        what = f"is for vectors and tables, not for samples of shape {list(raw.rows.shape[1:])}"
        raise UserError("dataset.normalization=rank", what, "Write dataset.normalization=standard.")
    if wanted != "none":
        _require_reach(trained, extent, raw.origin)
    columns, axes = Columns.measure(train), len(raw.rows.sample) - 1
    bounded = math.isfinite(support[0]) and math.isfinite(support[1])
    kind, reason = wanted, ""
    if wanted == "auto" and raw.columns is not None and not bounded:
        kind, reason = "standard", "the columns of a table have scales of their own"
    elif wanted == "auto":
        ends = support if bounded else None
        kind, reason = choose_normalization(columns, trained, axes=axes, support=ends)
    names = raw.names or name_elements(raw)
    notes = tuple(note_scales(kind, columns, trained, names, axes=axes, bounded=bounded))
    if kind == "unit" and bounded:
        trained = extent
    if kind in ("standard", "rank"):
        fitted = _fit_standard(statistics, raw.columns, axes=axes)
        fitted = _fit_ranks(fitted, statistics, train) if kind == "rank" else fitted
    elif kind == "rms":
        fitted = _fit_rms(statistics, columns, axes=axes)
    else:
        fitted = _fit_to_range("none" if kind == "none" else "unit", trained, extent)
    return fitted._replace(seen=trained, reason=reason, notes=notes, mean=statistics.mean)


def _fit_to_range(kind: Literal["unit", "none"], range_: Range, extent: Range) -> Fitted:
    low, high = range_
    _require_variation(low, high)
    if kind == "none":
        return Fitted(Normalization(torch.tensor(0.0), torch.tensor(1.0)), low, high, extent, kind)
    scaled = ((extent[0] - low) / (high - low), (extent[1] - low) / (high - low))
    normalization = Normalization(torch.tensor(low), torch.tensor(high - low))
    return Fitted(normalization, 0.0, 1.0, scaled, kind)


def _fit_rms(seen: Statistics, columns: Columns, *, axes: int) -> Fitted:
    """Subtract the medians and divide by a typical sample, so that outliers do not determine the scale."""
    median = torch.from_numpy(columns.median)
    scale = columns.typical or float((seen.variance + (seen.mean - median).square()).mean().sqrt())
    scale = max(scale, TINY)
    low, high = (seen.low - median) / scale, (seen.high - median) / scale
    normalization = Normalization(_reshape(median, axes), torch.tensor(scale))
    return Fitted(normalization, float(low.min()), float(high.max()), ANY, "rms")


def _fit_standard(seen: Statistics, columns: Schema | None, *, axes: int) -> Fitted:
    """Give each feature or channel mean 0 and variance 1. Of a table's columns, categories and booleans stay
    as they are, and counts are not shifted.
    """
    deviation, varies = seen.variance.sqrt(), _find_varying(seen.low, seen.high)
    if not bool(varies.any()):
        what = f"every {'channel' if axes else 'feature'} of the training data is constant"
        raise UserError("dataset", what, "Use data that varies.")
    scale = torch.where(varies, deviation.clamp(min=TINY), torch.ones_like(deviation))
    shift = seen.mean
    if columns is not None:
        shift = shift.where(find_elements(columns, "numeric", "date"), 0)
        scale = scale.where(find_elements(columns, "numeric", "date", "count"), 1)
    low, high = (seen.low - shift) / scale, (seen.high - shift) / scale
    normalization = Normalization(_reshape(shift, axes), _reshape(scale, axes))
    return Fitted(normalization, float(low.min()), float(high.max()), ANY, "standard")


def _fit_ranks(fitted: Fitted, seen: Statistics, train: Samples) -> Fitted:
    """Map the numbers of each feature to the quantiles of a normal distribution. fitted: `standard`."""
    columns = train.raw.columns
    ranked = torch.ones(len(seen.low), dtype=torch.bool)
    if columns is not None:
        ranked = find_elements(columns, "numeric", "date")
    normalization = fit_ranks(fitted.normalization, train, ranked)
    low, high = normalization(seen.low), normalization(seen.high)
    return fitted._replace(
        normalization=normalization, low=float(low.min()), high=float(high.max()), kind="rank"
    )


def _reshape(each: Tensor, axes: int) -> Tensor:
    """Reshape numbers of features or channels so that they broadcast over samples.

    axes: behind the channels.
    """
    return each.view(-1, *[1] * axes)


def _find_varying(low: Tensor, high: Tensor) -> Tensor:
    """Return where the lowest and the highest value differ in float32, with subnormal numbers as 0."""
    return high.float().double() - low.float().double() >= TINY


def _require_variation(low: float, high: float) -> None:
    if not bool(_find_varying(torch.tensor(low), torch.tensor(high))):
        what = f"every value of the training data is {low:g} in float32"
        raise UserError("dataset", what, "Use data that varies.")


def _require_reach(range_: Range, extent: Range, where: str) -> None:
    """Raise UserError if normalized values would exceed float32."""
    low, high = range_
    shares = ((end - low) / (high - low) for end in extent)
    if high - low > MOST or max(map(abs, shares)) > MOST:
        what = f"the training data goes from {low:g} to {high:g}, all data to {extent[1]:g}"
        remedy = "Divide it by a constant before training: float32 cannot hold this range."
        raise UserError(where, what, remedy)


def _require_unbounded(support: Range, where: str) -> None:
    """Raise UserError for a likelihood that needs the range of all values, where only some are read."""
    if math.isfinite(support[0]) and math.isfinite(support[1]):
        what = "is too large to find the range of all values, which this likelihood needs"
        raise UserError(where, what, "Write likelihood=gaussian.")


def _require_differences(train: Samples) -> None:
    """Raise UserError if all training samples are equal."""
    step = train.raw.rows.chunk
    first = train[0:1].x.numpy()  # NumPy can compare every type
    for start in range(0, len(train), step):
        if (train[start : start + step].x.numpy() != first).any():
            train.raw.release()
            return
    if len(train) > 1:
        what = f"all {len(train):,} training samples are equal"
        raise UserError(train.raw.origin, what, "Use samples that differ.")
